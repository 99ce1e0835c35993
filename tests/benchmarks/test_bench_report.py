"""The report of the benchmarks."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.bench_report import Report, print_report
from benchmarks.bench_settings import BACKBONES, BenchSettings
from benchmarks.client import Round, summarise
from benchmarks.gemm import convolution_operations
from benchmarks.intervals import accuracy_figures


def test_throughput_and_latencies_are_medians_over_the_rounds() -> None:
    rounds = [Round([0.010] * 20, 2.0), Round([0.020] * 10, 1.0), Round([0.050] * 4, 1.0)]
    load = summarise(rounds)
    assert load.figures("serve", 8) == pytest.approx({"serve_rps_8": 10, "serve_p50_ms_8": 20, "serve_p95_ms_8": 20})


def test_an_accuracy_comes_with_its_wilson_interval() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263.
    expected = {"recipe_accuracy": 81 / 263, "recipe_accuracy_low": 0.2553, "recipe_accuracy_high": 0.3662}
    assert accuracy_figures("recipe", 81, 263) == pytest.approx(expected, abs=5e-5)


def test_the_convolutions_of_vgg16_take_15_billion_multiplications_at_224_pixels() -> None:
    assert convolution_operations(224) == 2 * 15_346_630_656


def test_the_report_has_the_ratios_and_marks_missed_targets(tmp_path: Path) -> None:
    sections = {"serving": {"serve_rps_1": 30.0, "mlflow_keras_rps_1": 2.0, "serve_p50_ms_1": 36.0}}
    report = Report({"machine": "two CPUs"}, sections)
    output = io.StringIO()
    print_report(report, Console(file=output, width=100))
    lines = {words[1]: words for line in output.getvalue().splitlines() if len(words := line.split()) > 2}
    assert lines["serve_speedup_1"][3:8] == ["15", "│", "at", "least", "12"]
    assert "met" in lines["serve_speedup_1"]
    assert "missed" in lines["serve_p50_ms_1"]
    report.write(tmp_path / "latest.json")
    written = json.loads((tmp_path / "latest.json").read_text())
    assert written["about"] == {"machine": "two CPUs"}
    assert written["figures"]["serve_speedup_1"] == 15


def test_both_backbones_stand_side_by_side() -> None:
    night = {"vgg16_night_seconds": 60.0, "efficientnet_lite0_night_seconds": 30.0}
    served = {"vgg16_serve_rps_1": 40.0, "efficientnet_lite0_serve_rps_1": 50.0}
    report = Report({}, {"backbones": night | served})
    output = io.StringIO()
    print_report(report, Console(file=output, width=100))
    lines = [line.replace("│", " ").split() for line in output.getvalue().splitlines()]
    assert ["night_seconds", "60", "30"] in lines
    assert ["serve_rps_1", "40", "50"] in lines
    assert report.figures()["backbone_speedup_night"] == 2
    assert report.figures()["backbone_speedup_1"] == 1.25


def test_each_backbone_has_its_own_weights_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BenchSettings(data=None)
    assert [settings.weights_of(name) for name in BACKBONES] == ["random", "imagenet"]
    assert [settings.image_size_of(name) for name in BACKBONES] == [160, 224]
    monkeypatch.setenv("MYCOFLOW_IMAGE_SIZE", "64")
    monkeypatch.setenv("MYCOFLOW_WEIGHTS", "bundled")
    named = BenchSettings(data=None)
    assert [named.weights_of(name) for name in BACKBONES] == ["bundled", "imagenet"]
    assert [named.image_size_of(name) for name in BACKBONES] == [64, 64]
