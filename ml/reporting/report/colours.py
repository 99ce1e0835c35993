"""Colours that colour-blind people can distinguish, and shades of them. Mail programs do not support transparency.

Source of the palette: Okabe, Ito, "Color Universal Design" (2008).
"""

BLUE = "#0072b2"
GREEN = "#009e73"
ORANGE = "#e69f00"
VERMILLION = "#c24a00"  # a little darker than in the palette, so that text in it is readable
GREY = "#57606a"
LINE = "#e1e4e8"
ORIGINS = {"curated": BLUE, "confirmed": GREEN, "harvested": ORANGE}


def of_origin(origin: str) -> str:
    """Return the colour of a label origin."""
    return ORIGINS.get(origin, GREY)


def shade(colour: str, strength: float) -> str:
    """Mix a colour with white.

    Args: colour, `#rrggbb`; strength, from 0, white, to 1.
    """
    parts = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * strength):02x}" for part in parts)
