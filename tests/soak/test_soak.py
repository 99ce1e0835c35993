"""The whole of `make soak`."""

import io
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ml.settings import Settings
from soak.__main__ import DRIFT_FROM, NIGHTS, run
from soak.plot import draw_nights
from soak.soak_nights import Night
from soak.soak_story import surprises, tell
from tests.memory import memory_folder

# Quick: tests/ml/test_told_nights.py, tests/ml/test_cycle.py and tests/ml/evaluation, night by night.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter; pytest's own folders are closed to it."""
    made = Path(tempfile.mkdtemp(prefix="mycoflow-soak-", dir=memory_folder()))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def lived(folder: Path) -> tuple[list[Night], Settings]:
    """The records of all nights, and the settings."""
    return run(folder, NIGHTS, Console(file=io.StringIO()))


def test_thirty_nights_bring_no_surprises(lived: tuple[list[Night], Settings], folder: Path) -> None:
    nights, settings = lived
    assert surprises(nights, settings, DRIFT_FROM) == []
    assert len(nights) == NIGHTS
    assert nights[-1].production_version >= 3
    assert "drift begins" in tell(nights, DRIFT_FROM)
    draw_nights(nights, settings, DRIFT_FROM, folder / "nights.png")
    assert (folder / "nights.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_night_is_a_surprise(lived: tuple[list[Night], Settings]) -> None:
    nights, settings = lived
    quiet = next(index for index, night in enumerate(nights) if not night.reasons)
    promoted = next(index for index, night in enumerate(nights) if night.decision == "promote")
    for index, changes, words in (
        (quiet, {"alerts": ["Accuracy is below the floor: 12.0%"]}, "an unexpected alert"),
        (quiet, {"reasons": ["none"], "decision": "keep"}, "without a cause"),
        (promoted, {"alerts": []}, "a promotion without an alert"),
        (promoted + 1, {"served_version": 99}, "version 99 answered"),
    ):
        wrong = [*nights[:index], replace(nights[index], **changes), *nights[index + 1 :]]
        assert any(words in surprise for surprise in surprises(wrong, settings, DRIFT_FROM))
