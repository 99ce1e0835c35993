"""`make demo`, the whole of it, and Ctrl-C in the middle of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.backbones.registered import choose_backbone, find_backbone
from ml.ingest.digits import write_digits
from stack.environment import ROOT

# Quick: test_scheduler.py runs the demo's stack and its nights.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def start_demo(home: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the demo in a home folder, as `make demo` does."""

    def start(*options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "stack", "demo", *options],
            cwd=home,
            env={**os.environ, "MYCOFLOW_HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def test_the_demo_plays_two_nights_and_leaves_no_process(
    home: Path, start_demo: Callable[..., "subprocess.Popen[str]"], processes_on: Callable[[Path], list[str]]
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


def test_the_demo_plays_on_the_photos_of_a_folder_with_the_backbone_at_hand(
    home: Path, start_demo: Callable[..., "subprocess.Popen[str]"], processes_on: Callable[[Path], list[str]]
) -> None:
    digits = write_digits(home / "digits")
    for digit in ("1", "7"):
        for path in sorted((digits.later / digit).iterdir())[:20]:
            (home / "my photos" / f"a {digit}").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, home / "my photos" / f"a {digit}")
    (home / "my photos" / "a 1" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    with start_demo("--photos", "my photos") as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert processes_on(home) == []
    assert "torn.jpg" in said
    summary = json.loads((home / "demo" / "summary.json").read_text())
    assert summary["images"] == "40 photos of 2 classes"
    assert (summary["first_images"], summary["new_images"]) == (16, 16)
    assert summary["retrain_reason"].endswith("16 new images reach the threshold of 8.")
    backbone, _ = choose_backbone(None)
    assert (summary["backbone"], summary["weights"]) == (backbone, "imagenet")
    assert summary["image_size"] == find_backbone(backbone).default_image_size
    assert summary["production_version"] == summary["prediction_model_version"]
    assert summary["production_version"] == 2 or "the gate keeps version 1 in production" in said
    assert len(list((home / "my photos").rglob("*.png"))) == 40


def test_ctrl_c_while_a_model_is_trained_leaves_no_process_and_the_next_demo_starts_clean(
    home: Path, start_demo: Callable[..., "subprocess.Popen[str]"], processes_on: Callable[[Path], list[str]]
) -> None:
    for _ in range(2):
        with start_demo() as process:
            assert process.stdout is not None
            assert any("retrain.snapshot" in line for line in process.stdout)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=300)
        assert process.returncode == 130
        assert processes_on(home) == []
