"""Read a folder of images that a user made: one sub-folder per class, and optionally a `groups.csv` beside them."""

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from unicodedata import normalize

from ml.catalog.class_names import find_fault
from ml.errors import InvalidImageError, SourceError
from ml.ingest.layout.groups import GROUPS_FILE, read_groups
from ml.ingest.layout.litter import is_litter, is_litter_folder, is_perhaps_litter
from ml.ingest.layout.printable_names import printable
from ml.ingest.validation import check_byte_count

Member = TypeVar("Member")

# Entries that are no images of a class. Each is reported in one line, and all others are taken.
FOREIGN_REASONS = {
    "nested_folder": "a folder inside a class folder; what is in it is left out",
    "unreadable_folder": "a folder that cannot be listed",
    "folder_name": "a folder whose name cannot be the name of a class",
    "link_loop": "a link to itself, or to a folder that is taken already",
    "link_outside": "a link that leaves the folder",
    "no_such_file": "a row of groups.csv names a file that is not there",
}

LAYOUT = "expected one sub-folder per class with the images in it, as in DIR/<class>/<image file>"


@dataclass(frozen=True)
class SourceFile:
    """One file that claims to be an image of a class.

    Args:
        path: of the file.
        label: the name of its folder; None for a file outside the class folders.
        group: its group in groups.csv; None if groups.csv does not name the file.
        problem: with one of FOREIGN_REASONS, for an entry that is no such file.
    """

    path: Path
    label: str | None
    group: str | None
    problem: InvalidImageError | None = None


@dataclass
class _Layout:
    """What a folder holds. Args: loose, files outside the class folders; foreign, entries that are no such files."""

    classes: dict[str, list[Path]] = field(default_factory=dict)
    loose: list[Path] = field(default_factory=list)
    foreign: dict[Path, InvalidImageError] = field(default_factory=dict)


def list_files(folder: Path, may_be_empty: bool = False) -> list[SourceFile]:
    """List a folder's files with the classes mixed evenly, always in the same order. Skip hidden files and litter.

    Any part of the list has the classes in their overall proportions. So an interrupted run has stored images of all
    classes, and the newest images are of all classes too.

    Args: may_be_empty, whether to accept a folder without images.
    Raises: SourceError, the folder cannot be listed or holds no images, or its groups.csv does not fit it.
    """
    layout = _read_layout(folder)
    if not may_be_empty and not any(layout.classes.values()):
        raise _no_images(folder, layout)
    ranked = mix_classes(layout.classes)
    names = {path: normalize("NFC", path.relative_to(folder).as_posix()) for _, path in ranked}
    groups = read_groups(folder, set(names.values()))
    others = [SourceFile(path, None, None, problem) for path, problem in layout.foreign.items()]
    others += [SourceFile(path, None, None) for path in layout.loose]
    others += [
        SourceFile(folder / f"{GROUPS_FILE}: {name}", None, None, each) for name, each in groups.problems.items()
    ]
    return others + [SourceFile(path, label, groups.of_files.get(names[path])) for label, path in ranked]


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
        raise InvalidImageError(
            "link_outside", f"expected a file in {printable(str(folder))!r}, got a link to a file outside it"
        )


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
    """Return whether a path is a link that leaves the folder. A link that leads to itself does not.

    What nobody may look at counts as no link; reading it says what is wrong.
    """
    return _is_link(path) and not _real(path).is_relative_to(_real(folder))


def _is_link(path: Path) -> bool:
    return os.path.islink(path)  # noqa: PTH114 - Path.is_symlink raises an error for what nobody may look at


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # Path.resolve raises an error for a loop in some versions of Python


def _read_layout(folder: Path) -> _Layout:
    if not _is_folder(folder):
        raise SourceError(f"{printable(str(folder))!r} is no folder: {LAYOUT}.")
    try:
        paths = _list(folder)
    except OSError as error:
        shown = printable(str(folder))
        raise SourceError(f"{shown!r} cannot be listed: expected read access, got {error.strerror}.") from error
    layout = _Layout()
    taken = {_real(folder), *(_real(path) for path in paths if _is_folder(path) and not _is_link(path))}
    for path in paths:
        if leaves(folder, path) and path.name != GROUPS_FILE:
            layout.foreign[path] = InvalidImageError(
                "link_outside", "expected a folder with the name of a class, got a link that leaves the folder"
            )
        elif _is_folder(path):
            _read_class(path, layout, taken)
        elif _is_loop(path):
            layout.foreign[path] = InvalidImageError("link_loop", "expected a folder, got a link that leads to itself")
        elif path.name != GROUPS_FILE:
            layout.loose.append(path)
    return layout


def _read_class(folder: Path, layout: _Layout, taken: set[Path]) -> None:
    """Add the files of a class folder to the layout, or the folder to what is foreign."""
    real = _real(folder)
    if _is_link(folder) and real in taken:
        target = "the folder that it is in" if real == _real(folder.parent) else repr(printable(real.name))
        layout.foreign[folder] = InvalidImageError(
            "link_loop", f"expected a folder, got a link to {target}, which is taken already"
        )
        return
    if fault := find_fault(folder.name):
        layout.foreign[folder] = InvalidImageError(
            "folder_name", f"expected a folder with the name of a class, got {fault}: rename it"
        )
        return
    try:
        paths = _list(folder)
    except OSError as error:
        layout.foreign[folder] = InvalidImageError(
            "unreadable_folder", f"expected a folder that can be listed, got: {error.strerror}"
        )
        return
    taken.add(real)
    # Systems write an accent as one character or two, but it is one class.
    files = layout.classes.setdefault(normalize("NFC", folder.name), [])
    for path in paths:
        if _is_folder(path):
            layout.foreign[path] = InvalidImageError(
                "nested_folder", "expected an image, got a folder inside a class folder: move its images up"
            )
        else:
            files.append(path)


def _list(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not _is_litter(path))


def _is_litter(path: Path) -> bool:
    if not is_perhaps_litter(path.name):
        return is_litter(path.name)
    try:
        return is_litter_folder(path.name, [each.name for each in path.iterdir()])
    except OSError:  # a file, or a folder that cannot be listed: it is reported
        return False


def _is_loop(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # nobody may look at it; reading it says so
        return False


def _no_images(folder: Path, layout: _Layout) -> SourceError:
    found = f"{len(layout.classes)} sub-folders, all empty" if layout.classes else "no sub-folder"
    message = f"{printable(str(folder))!r} holds no images of classes: {LAYOUT}; found {found}."
    nested = next((path for path, problem in layout.foreign.items() if problem.reason == "nested_folder"), None)
    if nested is not None:
        shown, parent = printable(str(nested)), printable(str(nested.parent))
        return SourceError(f"{message} {shown!r} is a folder inside a class. Did you mean to ingest {parent!r}?")
    causes = [f" {printable(path.name)!r}: {problem}." for path, problem in layout.foreign.items()]
    return SourceError(message + "".join(causes[:3]))
