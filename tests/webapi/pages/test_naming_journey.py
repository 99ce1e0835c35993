"""A person's journey: log in, name a photo, say whether the answer is right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_person_logs_in_names_a_photo_and_says_that_it_is_right(
    log_in_as: Callable[..., Any], photo_file: Path, scripts: bool
) -> None:
    page = log_in_as("alice", java_script_enabled=scripts)
    page.locator("#file").set_input_files(photo_file)
    page.get_by_role("button", name="Name this photo").click()
    page.wait_for_url("**/answers/*")
    page.screenshot(path=f"/tmp/pb_{scripts}.png", full_page=True)
    page.get_by_role("button", name="OK, that is right").click()
    page.get_by_text("Thank you.").wait_for()
    page.screenshot(path=f"/tmp/pb_{scripts}_2.png", full_page=True)
    assert page.faults == []
