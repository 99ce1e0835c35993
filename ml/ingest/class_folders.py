"""Read a folder of images that a user made: one sub-folder per class, and optionally a `groups.csv` beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from ml.errors import InvalidImageError, SourceError
from ml.ingest.groups import GROUPS_FILE, read_groups
from ml.ingest.validation import check_byte_count

Member = TypeVar("Member")

LAYOUT = "expected one sub-folder per class with the images in it, as in DIR/<class>/<image file>"


@dataclass(frozen=True)
class SourceFile:
    """One file that claims to be an image of a class.

    Args:
        path: of the file.
        label: the name of its folder; None for a file outside the class folders.
        group: its group in groups.csv; None if groups.csv does not name the file.
    """

    path: Path
    label: str | None
    group: str | None


def list_files(folder: Path, may_be_empty: bool = False) -> list[SourceFile]:
    """List a folder's files with the classes mixed evenly, always in the same order. Skip hidden files and folders.

    Any part of the list has the classes in their overall proportions. So an interrupted run has stored images of all
    classes, and the newest images are of all classes too.

    Args: may_be_empty, whether to accept a folder without images.
    Raises: SourceError, the folder does not have that layout, or its groups.csv does not fit it.
    """
    classes, loose = _read_layout(folder)
    if not may_be_empty and not any(classes.values()):
        found = f"{len(classes)} sub-folders, all empty" if classes else "no sub-folder"
        raise SourceError(f"{folder} holds no images of classes: {LAYOUT}; found {found}.")
    ranked = mix_classes(classes)
    names = {path: normalize("NFC", path.relative_to(folder).as_posix()) for _, path in ranked}
    groups = read_groups(folder, set(names.values()))
    labelled = [SourceFile(path, label, groups.get(names[path])) for label, path in ranked]
    return [SourceFile(path, None, None) for path in loose] + labelled


def mix_classes(classes: Mapping[str, Sequence[Member]]) -> list[tuple[str, Member]]:
    """Return members with their label, ordered so that any part has the classes in their overall proportions."""
    ranked = sorted(
        ((rank + 0.5) / len(members), label, rank) for label, members in classes.items() for rank in range(len(members))
    )
    return [(label, classes[label][rank]) for _, label, rank in ranked]


def demand_inside(folder: Path, path: Path) -> None:
    """Refuse a link that leaves the folder: nobody asked to ingest files outside it.

    Raises: InvalidImageError, link_outside.
    """
    if leaves(folder, path):
        raise InvalidImageError("link_outside", f"expected a file in {folder}, got a link to a file outside it")


def read_content(path: Path) -> bytes:
    """Read a file, unless its size shows that it is no valid image.

    Raises: InvalidImageError, with one of the REASONS of ml.ingest.validation.
    """
    try:
        if not path.is_file():
            raise InvalidImageError("not_an_image", "expected a regular file, got a broken link or a device")
        check_byte_count(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise InvalidImageError("unreadable", f"expected a readable file, got: {error.strerror}") from error


def leaves(folder: Path, path: Path) -> bool:
    """Whether a path is a link that leaves the folder."""
    return path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())


def _read_layout(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return the files of each class, and the files outside the class folders."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder: {LAYOUT}.")
    classes: dict[str, list[Path]] = {}
    loose = []
    for path in _visible(folder):
        if path.is_dir() and not leaves(folder, path):
            classes.setdefault(_label(path), []).extend(_files_of_class(path))
        elif path.name != GROUPS_FILE:
            loose.append(path)
    return classes, loose


def _files_of_class(folder: Path) -> list[Path]:
    paths = _visible(folder)
    for path in paths:
        if path.is_dir():
            raise SourceError(f"{path} is a folder inside a class: {LAYOUT}. Did you mean to ingest {folder}?")
    return paths


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise SourceError(f"{folder} cannot be listed: expected read access, got {error.strerror}.") from error


def _label(folder: Path) -> str:
    """Return the class's name, normalised: systems write an accent as one character or two, but it is one class."""
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"{folder.name!r} cannot name a class: expected UTF-8. Rename the folder.") from error
    return normalize("NFC", folder.name)
