"""`make bench` without its competitors: training and gemm, with few and small images."""

import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.__main__ import run
from benchmarks.bench_settings import BACKBONES, BenchSettings
from tests.memory import memory_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter; pytest's own folders are closed to it."""
    made = Path(tempfile.mkdtemp(prefix="mycoflow-bench-", dir=memory_folder()))
    yield made
    shutil.rmtree(made)


# Quick: the parts one by one, beside this file.
@pytest.mark.slow
def test_training_and_gemm_write_their_figures_to_latest_json(folder: Path) -> None:
    output = io.StringIO()
    settings = BenchSettings(data=None, quick=True, image_size=32)
    run(["training", "gemm"], settings, folder, Console(file=output, width=100))
    latest = json.loads((folder / "latest.json").read_text())
    expected = (
        "quantise_seconds retrain_cold_seconds retrain_warm_seconds retrain_accuracy keras_features_seconds "
        "keras_features_accuracy recipe_epoch_seconds recipe_total_seconds speedup_cold speedup_warm speedup_features "
        "gemm_fp32_gflops gemm_int8_gflops backbone_gflops backbone_share"
    )
    assert set(expected.split()) <= latest["figures"].keys()
    assert all(value > 0 for value in latest["figures"].values())
    assert latest["figures"]["retrain_accuracy"] > 0.8
    assert latest["about"]["photos"] == "handwritten digits"
    assert "speedup_cold" in output.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(1200)  # two deployments, four trainings, and the service under load
def test_both_backbones_are_measured_in_one_run(folder: Path) -> None:
    settings = BenchSettings(data=None, quick=True, image_size=32)
    run(["backbones"], settings, folder, Console(file=io.StringIO(), width=100))
    figures = json.loads((folder / "latest.json").read_text())["figures"]
    wanted = (
        "first_training_seconds night_seconds precision_bits retrain_accuracy serve_rps_1 serve_p50_ms_8 serve_rss_mb"
    )
    for backbone in BACKBONES:
        assert {f"{backbone}_{name}" for name in wanted.split()} <= figures.keys()
    assert {"backbone_speedup_night", "backbone_speedup_1", "backbone_speedup_8"} <= figures.keys()
    assert all(value > 0 for value in figures.values())
