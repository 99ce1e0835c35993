"""`make soak`: thirty nights of the cycle, the service, experts and alerts, with drift from the twelfth night on.

    python -m soak

Only the clock and the people are simulated. The run works in var/soak, writes nights.json and nights.png there, and
deletes the files of the run before.
"""

import json
import logging
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from ml import cycle
from ml.app import Workspace, open_workspace
from ml.errors import MycoflowError
from ml.ingest.digits import DigitFolders, write_digits
from ml.ingest.folder import ingest_folder
from ml.reporting import alert_delivery
from ml.settings import Settings, default_settings
from ml.training.recipes import Retrain
from soak.pager import open_pager
from soak.people import arrive
from soak.plot import draw_nights
from soak.shifted_clock import install_clock
from soak.soak_nights import Night, Place
from soak.soak_story import surprises, tell
from stack.home_lock import exclusive
from webapi import application_state
from webapi.factory import create_app

NIGHTS = 30
DRIFT_FROM = 12
PHOTOS_A_DAY = 60
FOLDER = Path(__file__).resolve().parent.parent / "var" / "soak"


def main() -> None:
    """Run the command. Expected errors and surprises become a message and exit status 1."""
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns each time it traces the graph of a new model
    console, errors = Console(), Console(stderr=True, soft_wrap=True)
    began = time.monotonic()
    try:
        nights, settings = run(FOLDER, NIGHTS, console)
    except MycoflowError as error:
        errors.print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)
    draw_nights(nights, settings, DRIFT_FROM, FOLDER / "nights.png")
    (FOLDER / "nights.json").write_text(json.dumps([asdict(night) for night in nights], indent=1) + "\n")
    found = surprises(nights, settings, DRIFT_FROM)
    for surprise in found:
        errors.print(f"[bold red]Unexpected:[/] {escape(str(surprise))}", highlight=False)
    picture = escape(str(FOLDER / "nights.png"))
    console.print(f"{(time.monotonic() - began) / 60:.1f} minutes; the picture is {picture}.")
    console.print(tell(nights, DRIFT_FROM), highlight=False, soft_wrap=True)
    sys.exit(1 if found else 0)


def run(folder: Path, count: int, console: Console) -> tuple[list[Night], Settings]:
    """Simulate some nights of a new deployment in its own folder.

    Raises: SettingsError, another run uses the folder.
    """
    with exclusive(folder, "soak"), open_pager() as pager, tempfile.TemporaryDirectory() as sheets:
        shutil.rmtree(folder / "home", ignore_errors=True)
        settings = _settings(folder / "home", pager.url)
        install_clock(settings)
        with open_workspace(settings) as workspace:
            digits = write_digits(Path(sheets))
            console.print("Training the first model ...")
            _begin(workspace, digits)
            pager.take()
            app = create_app(settings)
            try:
                visitor, expert = (arrive(app, workspace.catalog, role) for role in ("user", "expert"))
                application_state.current(app).models.poll()
                place = Place(workspace, app, pager, visitor, expert, digits.later)
                nights = place.nights(count, PHOTOS_A_DAY, DRIFT_FROM)
                return list(track(nights, "Nights", total=count, console=console)), settings
            finally:
                application_state.current(app).stop()


def _settings(home: Path, alert_url: str) -> Settings:
    """Return the default settings, without the environment's, changed for digits and for many requests."""
    return default_settings(
        mycoflow_home=home,
        weights="random",
        image_size=32,
        mirrored_views=False,  # a mirrored digit is another digit, or none
        alert_urls=SecretStr(alert_url),
        rate_limit="100000 per minute",
        token_hours=24 * 2 * NIGHTS,
    )


def _begin(workspace: Workspace, digits: DigitFolders) -> None:
    ingest_folder(workspace.catalog, digits.evaluation, "evaluation")
    ingest_folder(workspace.catalog, digits.first, "pool")
    cycle.retrain(workspace, "night-0", "the first model", Retrain(workspace.settings.snapshot_size))
    alert_delivery.deliver(workspace)


if __name__ == "__main__":
    main()
