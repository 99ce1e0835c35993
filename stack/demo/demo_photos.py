"""A folder of photos for the demo: its readable photos are divided into evaluation set, first pool, and arrivals."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from typing import Literal

from ml.backbones.registered import choose_backbone, find_backbone
from ml.catalog.class_names import ClassSpellings
from ml.errors import InvalidImageError, SettingsError
from ml.ingest.layout.class_folders import SourceFile, demand_inside, list_files, read_content
from ml.ingest.layout.printable_names import printable
from ml.ingest.validation import sanitise
from ml.progress import Progress
from ml.settings import default_settings
from stack.demo.demo_images import DemoImages, DemoPart

Part = Literal["evaluation", "first", "later"]

# The groups of a class are dealt to the parts in this order, the largest groups first: a fifth is for measuring.
DEAL: Sequence[Part] = ("first", "evaluation", "later", "first", "later")
# Groups of each class that a part must have. A training needs two: one to learn from, one to validate with.
GROUPS_NEEDED: dict[Part, int] = {"evaluation": 1, "first": 2, "later": 1}
PHOTOS_NEEDED = 10  # per class
CLASSES_NEEDED = 2
_NEEDED = (
    f"at least {CLASSES_NEEDED} sub-folders, one per class, with {PHOTOS_NEEDED} readable photos each, in "
    f"{sum(GROUPS_NEEDED.values())} groups or more (each photo is a group of its own, unless groups.csv says otherwise)"
)


@dataclass(frozen=True)
class Photo:
    """A readable photo. Args: label, in the spelling of its class that is used; group, its key."""

    file: SourceFile
    label: str
    group: str


@dataclass
class FoundPhotos:
    """The photos of a folder. Args: skipped, one sentence per file or class that is left out."""

    photos: list[Photo] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def photo_images(folder: Path, home: Path, on_progress: Progress) -> tuple[DemoImages, list[str]]:
    """Read a folder of photos, one sub-folder per class, and divide it. The same folder gives the same parts.

    Args:
        home: the demo's own folder, which it empties.
        on_progress: called with (files read, files in all).
    Returns: the images, and one sentence per file or class that is left out.
    Raises: SourceError, SettingsError, nothing can be played on this folder.
    """
    folder = Path(os.path.expanduser(folder)).absolute()  # noqa: PTH111 - Path's raises an error for unknown users
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(home)):
        raise SettingsError(
            f"Expected a folder of photos outside {home}, which the demo empties first, got "
            f"{printable(str(folder))!r}. Copy the photos to another folder."
        )
    found = read_photos(folder, on_progress)
    parts = divide(found)
    return _images(folder, parts), found.skipped


def read_photos(folder: Path, on_progress: Progress) -> FoundPhotos:
    """Read all photos of a folder. A file that cannot be read is left out, and so is the second of two equal files.

    Raises: SourceError, the folder does not exist or has no classes.
    """
    files = list_files(folder)
    spellings, paths = ClassSpellings(), dict[str, Path]()
    found = FoundPhotos()
    for done, file in enumerate(files, start=1):
        try:
            label, content = _read(folder, file)
            digest = sha256(content).hexdigest()
            if digest in paths:
                raise InvalidImageError("duplicate", f"the same file as {_shown(folder, paths[digest])}")
            sanitise(content)
            paths[digest] = file.path
            group = digest if file.group is None else f"group {file.group}"
            found.photos.append(Photo(file, spellings.settle(label), group))
        except InvalidImageError as error:
            found.skipped.append(f"{_shown(folder, file.path)}: {error}")
        on_progress(done, len(files))
    return found


def divide(found: FoundPhotos) -> dict[Part, list[Photo]]:
    """Divide photos by group into the parts. A class that is too small for all parts is left out.

    Raises: SettingsError, fewer than two classes remain.
    """
    part_of = _deal(found.photos)
    small = dict(_small_classes(found.photos, part_of))
    names = {photo.label for photo in found.photos}
    if len(names - small.keys()) < CLASSES_NEEDED:
        got = "; ".join(f"{printable(name)!r}: {what}" for name, what in sorted(small.items()))
        enough = len(names) - len(small)
        raise SettingsError(
            f"The demo needs {_NEEDED}. Got {enough} such {'class' if enough == 1 else 'classes'}"
            + (f", and smaller ones: {got}." if got else ".")
            + (f" {len(found.skipped)} files cannot be used; the first: {found.skipped[0]}." if found.skipped else "")
        )
    found.skipped += [f"{printable(name)!r}: too small a class, {what}" for name, what in sorted(small.items())]
    parts: dict[Part, list[Photo]] = {"evaluation": [], "first": [], "later": []}
    for photo in found.photos:
        if photo.label not in small:
            parts[part_of[photo.group]].append(photo)
    return parts


def _read(folder: Path, file: SourceFile) -> tuple[str, bytes]:
    """Return the label and the content of a file."""
    if file.problem is not None:
        raise file.problem
    if file.label is None:
        raise InvalidImageError("outside_class_folder", "expected a file in a class folder")
    demand_inside(folder, file.path)
    return file.label, read_content(file.path)


def _shown(folder: Path, path: Path) -> str:
    return repr(printable(str(path.relative_to(folder))))


def _deal(photos: Iterable[Photo]) -> dict[str, Part]:
    """Give each group its part. A group with several classes is dealt for the one that has the fewest groups."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for photo in photos:
        groups[photo.label][photo.group] += 1
    part_of: dict[str, Part] = {}
    for label in sorted(groups, key=lambda label: (len(groups[label]), label)):
        sizes = groups[label]
        fresh = sorted(
            sizes.keys() - part_of.keys(), key=lambda group: (-sizes[group], sha256(group.encode()).digest())
        )
        part_of.update(zip(fresh, cycle(DEAL), strict=False))
    return part_of


def _small_classes(photos: Sequence[Photo], part_of: dict[str, Part]) -> Iterator[tuple[str, str]]:
    """Yield the classes that are too small, and what they have."""
    by_class: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        by_class[photo.label].append(photo.group)
    for label, groups in by_class.items():
        counts = Counter(part_of[group] for group in set(groups))
        if len(groups) < PHOTOS_NEEDED or any(counts[part] < needed for part, needed in GROUPS_NEEDED.items()):
            yield label, f"{len(groups)} photos in {len(set(groups))} groups"


def _images(folder: Path, parts: dict[Part, list[Photo]]) -> DemoImages:
    counts = {name: len(photos) for name, photos in parts.items()}
    classes = {photo.label for photo in parts["evaluation"]}
    evaluation, first, later = (
        DemoPart(name, folder, [replace(photo.file, label=photo.label) for photo in parts[name]])
        for name in ("evaluation", "first", "later")
    )
    backbone, reason = choose_backbone(None)
    side = find_backbone(backbone).default_image_size
    return DemoImages(
        title=f"{sum(counts.values())} photos of {len(classes)} classes",
        first_night=f"a first model, from {counts['first']} photos",
        second_night=f"{counts['later']} photos more have arrived",
        evaluation=evaluation,
        first=first,
        later=later,
        example=evaluation.files[0],
        backbone=f"{backbone}, {side}x{side} pixels: {reason}",
        settings={"new_images_threshold": _threshold(counts["later"])},
    )


def _threshold(arrivals: int) -> int:
    """Return a threshold that the arrivals reach, also if some of them turn out to be copies."""
    return min(default_settings().new_images_threshold, (arrivals + 1) // 2)
