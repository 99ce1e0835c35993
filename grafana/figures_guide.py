"""Write the table of figures in docs/operations.md from ml.figures."""

from collections.abc import Iterator
from pathlib import Path

from ml.figures import FIGURES, Figure

GUIDE = Path(__file__).parent.parent / "docs" / "operations.md"
BEGIN, END = "<!-- Made of ml/figures.py by `python -m grafana`. -->\n", "<!-- The end of what is made. -->\n"


def render_table() -> str:
    """Return the table in Markdown, with a row for each figure."""
    head = ["| metric | unit | what | normal | also |", "|---|---|---|---|---|"]
    return "\n".join([*head, *map(_row, FIGURES)]) + "\n"


def write_guide(guide: Path = GUIDE) -> None:
    """Write the table between its two markers in the guide.

    Raises: ValueError, a marker is missing.
    """
    before, rest = guide.read_text().split(BEGIN)
    _, after = rest.split(END)
    guide.write_text(f"{before}{BEGIN}{render_table()}{END}{after}")


def _row(figure: Figure) -> str:
    name = figure.gauge if figure.is_gauge else figure.name
    return f"| `{name}` | {figure.unit} | {figure.meaning} | {figure.normal} | {', '.join(_also(figure))} |"


def _also(figure: Figure) -> Iterator[str]:
    if figure.metric:
        yield f"MLflow `{figure.metric}`"
    yield from (f"`{column}`" for column in figure.columns)
    yield from (f"*{panel}*" for panel in figure.panels)
    if figure.is_reported:
        yield "report"
