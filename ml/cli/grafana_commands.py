"""`mycoflow grafana`: send the dashboards to an external Grafana."""

from pathlib import Path
from typing import Annotated

import typer

from ml.cli.terminal import out
from ml.reporting.grafana_publishing import publish_dashboards
from ml.settings import load_settings

grafana_app = typer.Typer(no_args_is_help=True)


@grafana_app.callback()
def group() -> None:
    """Manage the dashboards of the Grafana at MYCOFLOW_GRAFANA_URL."""


@grafana_app.command()
def publish(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with the dashboards' JSON files.")] = Path(
        "grafana/dashboards"
    ),
) -> None:
    """Store the dashboards in Grafana, and replace those with the same uid.

    The dashboards refer to data sources by uid, so Grafana needs data sources with these uids.
    """
    for path in publish_dashboards(load_settings(), folder):
        out.print(path, highlight=False)
