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
    assert page.locator("#name").inner_text() == page.locator("th[scope=row]").first.inner_text()
    page.get_by_role("button", name="OK, that is right").click()
    page.get_by_text("Thank you.").wait_for()
    page.get_by_text("You said: right, it is").wait_for()
    assert page.faults == []
