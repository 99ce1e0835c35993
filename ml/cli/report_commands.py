"""`mycoflow report`: the state of the model, the data and the nightly checks, on one page."""

from pathlib import Path
from typing import Annotated

import typer

from ml.catalog.database import open_catalog
from ml.cli.terminal import out
from ml.reporting.report.page import make_report
from ml.settings import load_settings

report_app = typer.Typer()


def _require_folder(file: Path) -> Path:
    if not file.absolute().parent.is_dir():
        raise typer.BadParameter(f"expected a file in a folder that exists, got {file}")
    return file


@report_app.command()
def report(
    html: Annotated[
        Path, typer.Option("--html", metavar="FILE", dir_okay=False, callback=_require_folder, help="File to write.")
    ],
) -> None:
    """Write an HTML page for a browser or an e-mail: model, new images, drift, nightly checks, open decisions."""
    settings = load_settings()
    with open_catalog(settings) as catalog:
        page = make_report(catalog, settings)
    html.write_text(page, encoding="utf-8")
    out.print(f"The report is in {html}.", highlight=False)
