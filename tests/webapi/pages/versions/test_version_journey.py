"""The data scientist's journey: look at two versions, promote the better one, retrain, follow it, and answer."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.scripted_airflow import RUN_ID, WAITING, ScriptedAirflow
from tests.webapi.pages.conftest import PHONE, find_barriers
from tests.webapi.pages.versions.conftest import Trained
from tests.webapi.pages.versions.test_promotion_pages import OPTIONS, waiting_approval
from tests.webapi.pages.versions.test_training_pages import run, task

RUN_PATH = "/api/v2/dags/retrain/dagRuns/" + RUN_ID.replace(":", "%3A").replace("+", "%2B").replace("/", "%2F")


@pytest.mark.heavy
def test_from_two_versions_to_a_new_one_in_production(
    log_in_as: Callable[..., Any], trained: Trained, airflow: ScriptedAirflow
) -> None:
    for dag_id in ("retrain", "finetune", "register_model", "tune_hyperparameters"):
        airflow.pages[f"/api/v2/dags/{dag_id}/dagRuns?order_by=-run_after&limit=3"] = {"dag_runs": []}
    airflow.pages[WAITING] = {"hitl_details": []}
    page = log_in_as("bob", "admin")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Models").click()
    for version in ("1", "2"):
        page.get_by_role("checkbox", name=f"Compare version {version}").check()
    assert find_barriers(page) == []
    page.get_by_role("button", name="Compare two").click()
    page.get_by_role("heading", name="Versions 2 and 1").wait_for()
    assert find_barriers(page) == []
    page.get_by_role("link", name="Version 2").first.click()
    page.get_by_role("heading", name="Version 2").wait_for()
    assert find_barriers(page) == []
    page.get_by_role("link", name="of amanita called cantharellus").first.click()
    assert page.locator(".photos img").first.evaluate("image => image.decode().then(() => true)")
    page.go_back()
    page.get_by_role("button", name="Put it into production").click()
    page.get_by_role("heading", name="Put version 2 into production?").wait_for()
    assert find_barriers(page) == []
    page.get_by_role("button", name="Put it into production").click()
    page.get_by_text("Version 2 is in production.").wait_for()
    assert trained.workspace.registry.champion() == 2

    airflow.pages[RUN_PATH] = run("running")
    airflow.pages[f"{RUN_PATH}/taskInstances"] = {"task_instances": [task("train", "running"), task("promote", None)]}
    page.get_by_role("button", name="Retrain").click()
    page.get_by_role("radio", name="The newest of each class").check()
    page.get_by_label("Reason").fill("for the spring")
    assert find_barriers(page) == []
    page.get_by_role("button", name="Start the training").click()
    page.get_by_role("row", name="train").wait_for()
    assert find_barriers(page) == []
    waiting = [task("train", "success", 7), task("approval", "awaiting_input")]
    airflow.pages[f"{RUN_PATH}/taskInstances"] = {"task_instances": waiting}
    airflow.pages[WAITING] = {"hitl_details": [waiting_approval(RUN_ID)]}
    page.get_by_role("link", name="Look at it and decide").click()  # the script has read the page again
    assert find_barriers(page) == []
    airflow.pages[WAITING] = {"hitl_details": [waiting_approval(RUN_ID)]}
    airflow.pages[RUN_PATH] = run("success")
    page.get_by_role("button", name="Keep the champion").click()
    page.get_by_text("The training goes on with your answer.").wait_for()
    assert airflow.runs[-1][1]["chosen_options"] == OPTIONS[1:]
    assert page.locator("#run[data-finished]").count() == 1
    assert page.faults == []


@pytest.mark.heavy
def test_on_a_phone_nothing_is_wider_than_the_screen(log_in_as: Callable[..., Any], trained: Trained) -> None:
    page = log_in_as("bob", "admin", **PHONE)
    for path in ("/versions", "/versions/2", "/versions/compare?version=1&version=2", "/trainings/register"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    assert page.faults == []
