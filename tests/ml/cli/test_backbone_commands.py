"""`mycoflow compare-backbones`: a table for people, JSON for machines, and errors before any work."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from ml.app import Workspace
from ml.cli import backbone_commands, main, terminal
from ml.training.comparison.compared_backbones import ComparedBackbone, Comparison
from tests.three_layers import NAME

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(filled_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `mycoflow ...` in this process, on a terminal of 80 columns. Returns: exit status, output and errors."""
    settings = filled_workspace.settings
    assert settings.database_url is not None
    for name, value in {
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": str(settings.mlflow_tracking_uri),
        "MYCOFLOW_WEIGHTS": "random",
        "MYCOFLOW_IMAGE_SIZE": "32",
        "MYCOFLOW_MIRRORED_VIEWS": "false",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(backbone_commands, "out", terminal.SafeConsole(width=80, markup=False, emoji=False))

    def run_command(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mycoflow", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run_command


def test_the_table_fits_eighty_columns_and_names_every_network(run: Run) -> None:
    status, said, _ = run("compare-backbones", "--backbones", f"{NAME}, vgg16", "--precisions", "fp32")
    assert status == 0
    starts = ("backbone", f"{NAME} ", "vgg16 ")
    head, *rows = (line for line in said.splitlines() if line.startswith(starts) and ", " not in line[:30])
    assert head.split() == ["backbone", "weights", "px", "accuracy,", "95", "%", "F1", "less", "p", "ms", "MB"]
    assert [row.split()[:4] for row in rows] == [[NAME, "random", "32", "fp32"], ["vgg16", "random", "32", "fp32"]]
    assert max(map(len, (head, *rows))) <= 80
    assert "180 images of the newest images, in 180 groups" in said
    assert "has the plot, and a child run for each network" in said


def test_json_is_alone_on_standard_output(run: Run) -> None:
    status, said, _ = run(
        "compare-backbones", "--backbones", NAME, "--sizes", "32,64", "--precisions", "fp32", "--json"
    )
    assert status == 0
    read = json.loads(said)
    assert [(row["backbone"], row["image_size"], row["precision"]) for row in read["rows"]] == [
        (NAME, 32, "fp32"),
        (NAME, 64, "fp32"),
    ]
    assert read["image_count"] == 180


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbones", "resnet"], "Received: 'resnet'"),
        (["--sizes", "big"], "Expected --sizes as pixels, such as 160,224. Received: 'big'"),
        (["--sizes", "16"], "from 32 to 512 pixels"),
        (["--precisions", "fp16"], "Expected precisions: fp32, int8, or both"),
        (["--precisions", ","], "Received: none"),
        (["--weights", "random"], "Expected --weights as BACKBONE=WEIGHTS"),
        (["--weights", "vgg16="], "Expected --weights as BACKBONE=WEIGHTS"),
        (["--weights", "vgg16=/no/file.weights.h5", "--backbones", "vgg16"], "there is no such file"),
        (["--snapshot", "99"], "got 99"),
    ],
)
def test_wrong_options_are_one_message(run: Run, arguments: list[str], message: str) -> None:
    status, _, said = run("compare-backbones", *arguments)
    assert status == 1
    assert message in said


def test_long_names_and_large_figures_are_whole_in_eighty_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backbone_commands, "out", terminal.SafeConsole(width=80, markup=False, emoji=False))
    figures = (0.785, 0.758, 0.809, 0.787, -0.104, 1e-9, 281.1, 1257.0)
    slow = ComparedBackbone("efficientnet_lite0", "imagenet", "", 224, "int8", "", 1280, *figures, "a test says so")
    best = replace(slow, difference=0.0, p_value=1.0, milliseconds=9.38, refused="")
    backbone_commands._print_comparison(Comparison("the newest images", 999, 894, [best, slow], "run"))
    said = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in said if line.startswith("efficientnet_lite0 ")]
    assert rows == [
        ["efficientnet_lite0", "imagenet", "224", "int8", "78.5", "(75.8-80.9)", "78.7", "best", "9.4", "1257"],
        [
            "efficientnet_lite0",
            "imagenet",
            "224",
            "int8*",
            "78.5",
            "(75.8-80.9)",
            "78.7",
            "10.4",
            "<.001",
            "281",
            "1257",
        ],
    ]
    assert "* efficientnet_lite0, imagenet, 224 px, int8: a retraining would serve fp32. a test says so" in said
