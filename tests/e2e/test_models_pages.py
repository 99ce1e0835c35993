"""The pages of models in a real browser on a running stack: a training from its form to a model that answers."""

import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import add_account
from ml.catalog.tables import promotions
from ml.ingest.digits import write_digits
from tests.e2e.digit_arrivals import ingest_digits
from tests.e2e.test_model_health import READING_SECONDS, TRAINING_SECONDS, browser, running

# Quick: tests/webapi/pages/versions plays the same against an Airflow that is scripted.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
__all__ = ["browser"]
PASSWORD = "correct horse battery staple"


def test_an_admin_trains_follows_approves_and_names_a_photo(home: Path, tmp_path: Path, browser: Any) -> None:
    digits = write_digits(tmp_path / "digits")
    browser.set_default_timeout(TRAINING_SECONDS * 1000)
    with running(home) as (addresses, _airflow, _pages, catalog):
        ingest_digits(catalog, digits, tmp_path / "evaluation", "evaluation", 0, 4)
        ingest_digits(catalog, digits, tmp_path / "pool", "pool", 0, 25)
        add_account(catalog, "bob", "admin", PASSWORD)
        browser.goto(f"{addresses.service}/versions")
        browser.locator("[name=login]").fill("bob")
        browser.locator("[name=password]").fill(PASSWORD)
        browser.locator("#login-form button").click()
        browser.get_by_text("No model version yet.").wait_for()

        browser.get_by_role("button", name="Retrain").click()
        browser.get_by_label("Reason").fill("the first model")
        browser.get_by_role("button", name="Start the training").click()
        browser.get_by_role("link", name="Look at it and decide").wait_for()  # the page of the run
        browser.get_by_role("link", name="Dashboard").click()
        browser.get_by_role("link", name="Look at it and decide").click()
        browser.wait_for_url("**/versions")
        browser.get_by_role("link", name="Look at it and decide").click()
        browser.wait_for_url("**/approvals*")
        assert "Version 1" in browser.locator("main").inner_text()
        time.sleep(READING_SECONDS)  # Airflow 3.3.2 takes an answer in the very second of the question for a failure
        browser.get_by_role("button", name="Promote the challenger").click()
        browser.locator("#run[data-finished]").wait_for()
        browser.screenshot(path=tmp_path / "run.png", full_page=True)
        with catalog.begin() as connection:
            (actor,) = connection.execute(sa.select(promotions.c.actor)).scalars()
        assert actor.startswith("account:")

        browser.goto(f"{addresses.service}/versions/1")
        shown = browser.locator("main").inner_text()
        assert "Its head was fitted in one step" in shown
        assert "What it takes for what" in shown
        browser.goto(f"{addresses.service}/dashboard")
        browser.get_by_role("heading", name="What is wrong now").wait_for()
        assert "Version 1" in browser.locator("main").inner_text()
        browser.goto(addresses.service)
        browser.locator("#file").set_input_files(next((digits.evaluation / "3").iterdir()))
        browser.locator("#send").click()
        browser.wait_for_url("**/answers/*")
        assert browser.locator("#name").inner_text() in {str(digit) for digit in range(10)}
