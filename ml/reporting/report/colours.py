"""Colours that people who see few of them tell apart. Mail programs know no transparency: shades are mixed here.

Source: of the palette: Okabe, Ito, "Color Universal Design" (2008).
"""

BLUE = "#0072b2"
GREEN = "#009e73"
ORANGE = "#e69f00"
VERMILLION = "#c24a00"  # a little darker than theirs, so that it can be read as text
GREY = "#57606a"
LINE = "#e1e4e8"
ORIGINS = {"curated": BLUE, "confirmed": GREEN, "harvested": ORANGE}


def of_origin(origin: str) -> str:
    """The colour of a label origin."""
    return ORIGINS.get(origin, GREY)


def shade(colour: str, strength: float) -> str:
    """A colour mixed with white.

    Args: colour, `#rrggbb`; strength, from 0, white, to 1.
    """
    parts = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * strength):02x}" for part in parts)
