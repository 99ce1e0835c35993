"""Write the dashboards' files: one JSON file each, named by its uid."""

import json
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana import data_flow, model_quality, nights, service

DASHBOARDS_FOLDER = Path(__file__).parent / "dashboards"


def all_dashboards() -> list[Dashboard]:
    """Return all dashboards, in the order of their links."""
    return [model_quality.build(), data_flow.build(), service.build(), nights.build()]


def render_dashboards() -> dict[str, str]:
    """Return file name -> JSON. Panels get numbers in their order, because Grafana would number them at random."""
    files = {}
    for dashboard in (each.build() for each in all_dashboards()):
        for number, panel in enumerate(dashboard.panels or [], start=1):
            panel.id_val = number
        files[f"{dashboard.uid}.json"] = json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
    return files


def write_dashboards(folder: Path = DASHBOARDS_FOLDER) -> None:
    """Write the current dashboards, and delete files of former ones."""
    files = render_dashboards()
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.json"):
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        (folder / name).write_text(content)
