"""`make demo`: two nights of an image classifier, on real images, from nothing."""

import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ml.catalog.accounts.user_accounts import put_demo_accounts
from ml.catalog.database import Catalog, open_catalog
from ml.settings import Settings, load_settings, variable
from stack.demo.demo_folder import clean_folder, demo_settings, running_stack
from stack.demo.demo_images import DemoImages, digit_images
from stack.demo.demo_photos import photo_images
from stack.demo.demo_report import Stopwatch, Summary, print_skipped, print_summary
from stack.demo.demo_story import DAG_IDS, Story
from stack.environment import find_addresses
from stack.follow import open_own_airflow, wait_for
from stack.readiness import wait_until_healthy

START_SECONDS = 180


def play(photos: Path | None, console: Console) -> int:
    """Play two nights in `<MYCOFLOW_HOME>/demo`, write summary.json there, and stop all servers.

    Args: photos, a folder with one sub-folder per class; None for the digits.
    Returns: 0.
    Raises: MycoflowError, something did not happen as expected.
    """
    home = load_settings().mycoflow_home / "demo"
    watch = Stopwatch()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all servers are stopped
    images = None if photos is None else _read_photos(photos, home, watch, console)  # before anything is deleted
    with clean_folder(home):
        images = images or digit_images(home / "digits")
        console.print(f"Backbone: {escape(images.backbone)}", soft_wrap=True)
        console.print(f"State: {escape(str(home))}", soft_wrap=True)
        summary = _play_on_a_stack(images, demo_settings(home, images.settings), watch, console)
        summary.phase_seconds, summary.wall_seconds = watch.seconds, watch.total
        summary.write(home / "summary.json")
    print_summary(summary, console)
    console.print(f"All figures: {escape(str(home / 'summary.json'))}", soft_wrap=True)
    console.print(_how_to_open(home, images.settings), highlight=False, markup=False, soft_wrap=True)
    return 0


def _how_to_open(home: Path, changes: Mapping[str, object]) -> str:
    """Say how to look at the demo's data in a browser."""
    words = {"MYCOFLOW_HOME": str(home), **{variable(name): str(value).lower() for name, value in changes.items()}}
    given = " ".join(f"{name}={shlex.quote(value)}" for name, value in words.items())
    return (
        f"Look at it in a browser: run `{given} make up`, open the address that it prints first, and log in with an "
        "account from above: alice names photos, clementine reviews them."
    )


def _read_photos(folder: Path, home: Path, watch: Stopwatch, console: Console) -> DemoImages:
    def show(done: int, total: int) -> None:
        status.update(f"Reading the photos: {done} of {total}")

    with watch.phase("read the photos"), console.status("Reading the photos") as status:
        images, left_out = photo_images(folder, home, show)
    parts = [
        f"{len(part.files)} {words}"
        for part, words in (
            (images.evaluation, "to measure with"),
            (images.first, "for the first night"),
            (images.later, "for the second night"),
        )
    ]
    console.print(f"{images.title}: {', '.join(parts)}")
    print_skipped(left_out, console)
    return images


def _make_accounts(catalog: Catalog, console: Console) -> dict[str, str]:
    passwords = put_demo_accounts(catalog)
    accounts = ", ".join(f"{login} / {password}" for login, password in passwords.items())
    console.print(f"Accounts of the service, for this demo only: {accounts}", highlight=False, soft_wrap=True)
    return passwords


def _play_on_a_stack(images: DemoImages, settings: Settings, watch: Stopwatch, console: Console) -> Summary:
    addresses = find_addresses(settings)
    with running_stack(settings, watch) as check:
        with watch.phase("start the servers"), console.status("Starting PostgreSQL, Airflow, MLflow, the service"):
            wait_until_healthy(settings, addresses, check, START_SECONDS)
            airflow = open_own_airflow(settings, addresses)
            wait_for("Airflow to read the DAGs", lambda: all(map(airflow.has_dag, DAG_IDS)) or None, START_SECONDS)
        console.print(
            f"Airflow {addresses.airflow}, MLflow {addresses.mlflow}, service {addresses.service}", soft_wrap=True
        )
        with open_catalog(settings) as catalog:
            passwords = _make_accounts(catalog, console)
            story = Story(settings, addresses, catalog, airflow, images, ("alice", passwords["alice"]), watch, console)
            summary = story.tell()
    return summary
