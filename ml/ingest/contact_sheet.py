"""Draw the rejects of a batch on one picture, so that a person sees whether the source or a rule is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

MOST_SHOWN = 60

_COLUMNS = 6
_SIDE = 160  # pixels
_CAPTION = 36
_GAP = 8
_LONGEST_LINE = 26  # characters


@dataclass(frozen=True)
class SheetEntry:
    """One reject.

    Args: picture, a small one; None if the file is not a readable image.
    """

    name: str
    reason: str
    picture: Image.Image | None


def shrink(content: bytes, side: int = _SIDE) -> Image.Image:
    """Shrink a stored image. Args: side, the longest one of the small picture, pixels; by default a cell's."""
    with Image.open(BytesIO(content)) as image:
        image.draft("RGB", (side, side))
        small = image.convert("RGB")
    small.thumbnail((side, side))
    return small


def draw_contact_sheet(entries: Sequence[SheetEntry]) -> bytes:
    """Draw the first MOST_SHOWN rejects with their reasons and names.

    Args: entries, at least one.
    Returns: a JPEG file.
    """
    shown = entries[:MOST_SHOWN]
    columns = min(len(shown), _COLUMNS)
    rows = -(-len(shown) // columns)
    cell_width, cell_height = _SIDE + _GAP, _SIDE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), "white")
    for index, entry in enumerate(shown):
        left, top = index % columns * cell_width + _GAP, index // columns * cell_height + _GAP
        _draw_cell(sheet, entry, left, top)
    buffer = BytesIO()
    sheet.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _draw_cell(sheet: Image.Image, entry: SheetEntry, left: int, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), fill="gainsboro")
    if entry.picture is not None:
        margins = (_SIDE - entry.picture.width) // 2, (_SIDE - entry.picture.height) // 2
        sheet.paste(entry.picture, (left + margins[0], top + margins[1]))
    font = ImageFont.load_default(12)
    name = entry.name if len(entry.name) <= _LONGEST_LINE else "..." + entry.name[3 - _LONGEST_LINE :]
    draw.text((left, top + _SIDE + 2), entry.reason, fill="firebrick", font=font)
    draw.text((left, top + _SIDE + 18), name, fill="black", font=font)
