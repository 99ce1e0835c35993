"""`make demo`, the whole of it, and Ctrl-C in the middle of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stack.environment import ROOT

# Quick: test_scheduler.py runs the demo's stack and its nights.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def start_demo(home: Path) -> Callable[[], "subprocess.Popen[str]"]:
    """Starts the demo in a home folder, as `make demo` does."""

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "stack", "demo"],
            cwd=ROOT,
            env={**os.environ, "MYCOFLOW_HOME": str(home), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def test_the_demo_plays_two_nights_and_leaves_no_process(
    home: Path, start_demo: Callable[[], "subprocess.Popen[str]"], processes_on: Callable[[Path], list[str]]
) -> None:
    with start_demo() as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert processes_on(home) == []
    assert sorted(path.name for path in home.iterdir()) == ["demo", "demo.lock"]

    summary = json.loads((home / "demo" / "summary.json").read_text())
    assert summary["accuracy_v2"] > summary["accuracy_v1"] > 0.5
    assert summary["new_images"] == 547
    assert "547 new images" in summary["retrain_reason"]
    assert summary["production_version"] == summary["prediction_model_version"] == 2
    assert summary["first_prediction_model_version"] == 1
    assert summary["prediction"] in set("0123456789")
    assert [(run["dag_id"], run["state"]) for run in summary["dag_runs"]] == [
        ("retrain", "success"),
        ("monitor_production", "success"),
        ("retrain", "success"),
    ]
    assert summary["dag_runs"][2]["dag_run_id"].startswith("asset_triggered")
    assert sum(summary["phase_seconds"].values()) <= summary["wall_seconds"]


def test_ctrl_c_while_a_model_is_trained_leaves_no_process_and_the_next_demo_starts_clean(
    home: Path, start_demo: Callable[[], "subprocess.Popen[str]"], processes_on: Callable[[Path], list[str]]
) -> None:
    for _ in range(2):
        with start_demo() as process:
            assert process.stdout is not None
            assert any("retrain.snapshot" in line for line in process.stdout)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=300)
        assert process.returncode == 130
        assert processes_on(home) == []
