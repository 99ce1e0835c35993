"""Airflow's page "Model health" and the link from a task to its MLflow run, in a real browser on a running stack."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright import sync_api as playwright_api

from ml.catalog.database import Catalog, open_catalog
from ml.catalog.tables import evaluations, monitorings
from ml.ingest.digits import write_digits
from ml.reporting.airflow_api import AirflowClient, DagRun
from stack.demo.demo_folder import demo_settings, running_stack
from stack.demo.demo_report import Stopwatch
from stack.environment import Addresses, find_addresses
from stack.follow import open_own_airflow, wait_for
from stack.readiness import wait_until_healthy
from stack.secret_files import ADMIN, airflow_secrets
from tests.e2e.airflow_pages import AirflowPages
from tests.e2e.digit_arrivals import ingest_digits

# Quick: tests/dags/test_plugin.py asks for the page, tests/ml/reporting for what is on it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
START_SECONDS = 180
TRAINING_SECONDS = 300
READING_SECONDS = 3
NIGHTS = [0.91, 0.9, 0.92, 0.88, 0.86, 0.83, 0.84, 0.79, 0.74, 0.69, 0.66]


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium, with a window as wide as a desk's."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("NOT CHECKED: no browser; run `apt-get install chromium` (as .ci/run does)")
    with playwright_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield opened.new_page(viewport={"width": 1360, "height": 900}, color_scheme="light")
        opened.close()


@contextmanager
def running(home: Path) -> Iterator[tuple[Addresses, AirflowClient, AirflowPages, Catalog]]:
    """A stack that asks before it promotes."""
    settings = demo_settings(home).model_copy(update={"snapshot_size": 250, "promotion": "approve"})
    addresses = find_addresses(settings)
    with running_stack(settings, Stopwatch()) as check:
        wait_until_healthy(settings, addresses, check, START_SECONDS)
        password = airflow_secrets(home / "airflow").admin_password
        airflow = open_own_airflow(settings, addresses)
        with open_catalog(settings) as catalog:
            wait_for("the DAGs", lambda: airflow.has_dag("retrain") or None, START_SECONDS)
            yield addresses, airflow, AirflowPages(addresses.airflow, password), catalog


def question(airflow: AirflowClient, pages: AirflowPages, run: DagRun) -> Any:
    """What a run asks, if it does by now. It must not have ended."""
    state = airflow.run_state(run)
    assert state in ("queued", "running"), state
    return pages.question(run.dag_run_id)


def remember_nights(catalog: Catalog) -> None:
    """Nights that a test cannot wait for."""
    now = datetime.now(UTC)
    with catalog.begin() as connection:
        set_version = connection.execute(sa.select(sa.func.max(evaluations.c.evaluation_set_version))).scalar_one()
        for number, accuracy in enumerate(NIGHTS):
            reasons = [f"Accuracy {accuracy:.3f} is below the floor of 0.700."] if accuracy < 0.7 else []
            connection.execute(
                sa.insert(monitorings).values(
                    model_version=1,
                    evaluation_set_version=set_version,
                    main_figure=accuracy,
                    shortfalls=[{"label": None, "value": accuracy, "floor": 0.7}] if accuracy < 0.7 else [],
                    new_images_human=9 * number,
                    new_images_harvested=4 * number,
                    is_retraining_requested=bool(reasons),
                    reasons=reasons,
                    monitored_at=now - timedelta(days=len(NIGHTS) - 1 - number),
                )
            )


def log_in(browser: Any, pages: AirflowPages) -> None:
    browser.goto(pages.url)
    browser.locator("input[name=username]").fill(ADMIN)
    browser.locator("input[name=password]").fill(pages.password)
    browser.locator("input[name=password]").press("Enter")
    browser.get_by_role("link", name="Model health").wait_for()


def test_an_operator_sees_how_the_model_is_answers_what_waits_and_finds_the_run(
    home: Path, tmp_path: Path, browser: Any
) -> None:
    digits = write_digits(tmp_path / "digits")
    with running(home) as (addresses, airflow, pages, catalog):
        ingest_digits(catalog, digits, tmp_path / "evaluation", "evaluation", 0, 4)
        ingest_digits(catalog, digits, tmp_path / "pool", "pool", 0, 25)
        first = airflow.trigger("retrain", {"reason": "the first model"})
        wait_for("the question", partial(question, airflow, pages, first), TRAINING_SECONDS)
        time.sleep(READING_SECONDS)  # Airflow 3.3.2 takes an answer in the very second of the question for a failure
        pages.answer(first.dag_run_id, "Promote the challenger")
        wait_for("the promotion", lambda: airflow.run_state(first) == "success" or None, TRAINING_SECONDS)
        remember_nights(catalog)
        ingest_digits(catalog, digits, tmp_path / "later", "pool", 25, 5)
        second = airflow.trigger("retrain", {"reason": "a better one"})
        wait_for("the next question", partial(question, airflow, pages, second), TRAINING_SECONDS)

        log_in(browser, pages)
        browser.get_by_role("link", name="Model health").click()
        shown = browser.frame_locator("iframe[title='Model health']")
        shown.get_by_text("Version 1 is in production").first.wait_for()
        shown.get_by_text("1 approval").wait_for()
        browser.screenshot(path=tmp_path / "light.png")
        browser.evaluate("localStorage.setItem('theme', 'dark')")  # what the switch in Airflow's menu does
        browser.reload()
        shown.get_by_text("1 approval").wait_for()
        browser.screenshot(path=tmp_path / "dark.png")
        shown.get_by_role("link", name="required actions").click()
        browser.get_by_text("May the challenger go into production?").first.wait_for()
        assert "/required_actions" in browser.url
        assert "/plugin/" not in browser.url

        linked = {
            task: pages.links(first.dag_run_id, task).get("MLflow run")
            for task in ("snapshot", "train", "register", "evaluate", "gate", "ask", "promote")
        }
        assert linked.pop("snapshot") is None
        (url,) = set(linked.values())
        assert url.startswith(f"{addresses.mlflow}/#/runs/")
        browser.goto(f"{pages.url}/dags/retrain/runs/{first.dag_run_id}/tasks/train/details")
        assert browser.get_by_role("link", name="MLflow run").get_attribute("href") == url
        browser.screenshot(path=tmp_path / "task.png")
        browser.goto(url)
        browser.wait_for_url(f"**/experiments/*/runs/{url.rsplit('/', 1)[1]}**")
        browser.goto(f"{pages.url}/mycoflow/health")
        browser.screenshot(path=tmp_path / "whole.png", full_page=True)
