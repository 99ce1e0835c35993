"""The table of figures against the dashboards and the operating guide."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from grafana.figures_guide import GUIDE, write_guide
from ml.figures import FIGURES


@pytest.fixture
def asked(dashboards: list[dict[str, Any]]) -> dict[str, str]:
    """The queries of each panel, by its title."""
    panels = [panel for dashboard in dashboards for panel in dashboard["panels"]]
    return {
        panel["title"]: " ".join(query.get("expr", "") + query.get("rawSql", "") for query in panel.get("targets", []))
        for panel in panels
    }


def test_every_panel_in_the_table_of_figures_queries_its_figure(asked: dict[str, str]) -> None:
    for figure in FIGURES:
        names = [figure.gauge, *(column.partition(".")[2] for column in figure.columns)]
        for panel in figure.panels:
            assert any(name in asked[panel] for name in names), (figure.name, panel)


def test_the_guides_table_is_current(tmp_path: Path) -> None:
    written = tmp_path / "operations.md"
    shutil.copy(GUIDE, written)
    write_guide(written)
    assert written.read_text() == GUIDE.read_text(), "Write it anew with `python -m grafana`."


def test_a_guide_without_markers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "operations.md").write_text("# Operations")
    with pytest.raises(ValueError, match="not enough values"):
        write_guide(tmp_path / "operations.md")
