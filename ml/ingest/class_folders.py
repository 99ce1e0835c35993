"""A folder of images as a user lays it out: one sub-folder per class, and perhaps a `groups.csv` beside them."""

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
        path: where it lies.
        label: the name of its folder; None for a file that lies in no class folder.
        group: what groups.csv says; None where it says nothing.
    """

    path: Path
    label: str | None
    group: str | None


def list_files(folder: Path, may_be_empty: bool = False) -> list[SourceFile]:
    """List a folder's files, classes mixed evenly, always in the same order.

    Hidden files and folders are left out. Any stretch of the list holds the classes in their overall proportions, so
    that neither an interrupted run nor the newest images are of one class only.

    Args: may_be_empty, whether images may be still to come.
    Raises: SourceError, no folder of that layout, or a groups.csv that does not fit it.
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
    """Members with their label, so ordered that any stretch holds the classes in their overall proportions."""
    ranked = sorted(
        ((rank + 0.5) / len(members), label, rank) for label, members in classes.items() for rank in range(len(members))
    )
    return [(label, classes[label][rank]) for _, label, rank in ranked]


def demand_inside(folder: Path, path: Path) -> None:
    """Refuse a link to something outside the folder, which nobody asked to ingest.

    Raises: InvalidImageError, link_outside.
    """
    if leaves(folder, path):
        raise InvalidImageError("link_outside", f"expected a file in {folder}, got a link out of it")


def read_content(path: Path) -> bytes:
    """Read a file, if it may be an image by its size.

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
    """Whether a path is a link to something outside the folder."""
    return path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())


def _read_layout(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of each class, and those that lie in no class folder."""
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
    """The class's name. Systems write accents as one character or as two: that must not make two classes."""
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise SourceError(f"{folder.name!r} cannot name a class: expected UTF-8. Rename the folder.") from error
    return normalize("NFC", folder.name)
