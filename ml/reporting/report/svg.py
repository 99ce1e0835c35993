"""A drawing that becomes an SVG image inside the page.

The page has it as `<img>` with a data URI. A mail program that does not show such images shows the alternative text;
of an inline `<svg>` it would show loose words. Scripts in such an image never run.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Literal
from xml.etree import ElementTree as ET

from ml.reporting.report.colours import GREY

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_FONT_SIZE = 12

Point = tuple[float, float]


class Drawing:
    """Shapes on a white background; coordinates in pixels from the upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        size = {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
        font = {"font-family": _FONT, "font-size": str(_FONT_SIZE)}
        self._root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, **font})
        self.bar(0, 0, width, height, "#ffffff")

    def line(self, points: Sequence[Point], colour: str, width: float = 1, dashes: str = "none") -> None:
        """Draw straight lines through points. Args: dashes, in SVG's format, such as `4 3`."""
        through = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        shape = {"points": through, "fill": "none", "stroke": colour}
        self._add("polyline", {**shape, "stroke-width": f"{width:g}", "stroke-dasharray": dashes})

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Draw a filled rectangle."""
        place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}"}
        self._add("rect", {**place, "fill": colour})

    def dot(self, at: Point, colour: str) -> None:
        """Draw a small disc."""
        self._add("circle", {"cx": f"{at[0]:.1f}", "cy": f"{at[1]:.1f}", "r": "3.2", "fill": colour})

    def text(
        self, at: Point, words: str, anchor: Literal["start", "middle", "end"] = "start", colour: str = GREY
    ) -> None:
        """Write text. Args: at, a point on the base line; anchor, the part of the text that is at this point."""
        place = {"x": f"{at[0]:.1f}", "y": f"{at[1]:.1f}", "text-anchor": anchor, "fill": colour}
        self._add("text", place).text = words

    def data_uri(self) -> str:
        """Return the image as a data URI."""
        return "data:image/svg+xml;base64," + b64encode(ET.tostring(self._root)).decode()

    def _add(self, name: str, attributes: dict[str, str]) -> ET.Element:
        return ET.SubElement(self._root, name, attributes)
