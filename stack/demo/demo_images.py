"""The images of the demo's two nights: the handwritten digits, or those of another folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml.errors import MycoflowError
from ml.ingest.digits import write_digits
from ml.ingest.layout.class_folders import SourceFile, list_files


@dataclass(frozen=True)
class DemoPart:
    """Some files of a folder, which arrive together. Args: name, for people."""

    name: str
    folder: Path
    files: Sequence[SourceFile]


@dataclass(frozen=True)
class DemoImages:
    """What the two nights are played on.

    Args:
        title: what the images show.
        first_night, second_night: what happens in them, for people.
        evaluation, first, later: to measure with; the first night's pool; what has arrived by the second night.
        example: the service is asked about it.
        backbone: the network that is used, for people.
        settings: of the demo, by field name, where they are not the defaults.
    """

    title: str
    first_night: str
    second_night: str
    evaluation: DemoPart
    first: DemoPart
    later: DemoPart
    example: SourceFile
    backbone: str
    settings: Mapping[str, object] = field(default_factory=dict)


# A mirrored digit is another digit, or none.
DIGIT_SETTINGS: Mapping[str, object] = {"weights": "random", "image_size": 32, "mirrored_views": False}


def digit_images(folder: Path) -> DemoImages:
    """Write the digits to a folder, and return them."""
    digits = write_digits(folder)
    evaluation, first, later = (
        DemoPart(path.name, path, list_files(path)) for path in (digits.evaluation, digits.first, digits.later)
    )
    return DemoImages(
        title="handwritten digits",
        first_night="a first model, from few 8s and 9s",
        second_night="more digits have arrived",
        evaluation=evaluation,
        first=first,
        later=later,
        example=min((file for file in evaluation.files if file.label == "8"), key=lambda file: file.path),
        backbone="VGG16 with random weights (seeded), 32x32 pixels. Enough for digits; for photos: PHOTOS=folder.",
        settings=DIGIT_SETTINGS,
    )


def demand_accepted(part: DemoPart, accepted: int, reasons: Mapping[str, int]) -> None:
    """Stop the demo if too few images of a part were accepted.

    Args: reasons, the number of refused images by reason.
    Raises: MycoflowError.
    """
    if 2 * accepted < len(part.files):
        causes = ", ".join(f"{reason}: {count}" for reason, count in reasons.items())
        raise MycoflowError(
            f"Expected at least half of the {len(part.files)} images of the part {part.name!r} to be accepted, got "
            f"{accepted} ({causes or 'the others were known'}). Delete copies, or name them in one group in groups.csv."
        )
