"""The command line: arguments in, text and exit status out."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from ml.catalog.accounts.user_accounts import add_account
from ml.catalog.database import Catalog
from ml.catalog.logs import maintenance_mode
from ml.catalog.tables import events
from ml.cli import main
from ml.errors import AccountError
from ml.ingest.digits import DigitFolders
from ml.settings import Settings
from tests.ml.dropping import settle
from tests.three_layers import NAME

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    settings: Settings, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `mycoflow ...` in this process on the test's deployment. Returns: exit status and output."""
    database_url = settings.database_url
    assert database_url is not None
    for name, value in {
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "MYCOFLOW_WEIGHTS": "random",
        "MYCOFLOW_IMAGE_SIZE": "32",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(main, "out", main.SafeConsole(width=200))

    def run_command(*arguments: str, stdin: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mycoflow", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return run_command


def test_backbones_are_listed_with_their_cost_and_their_weights(run: Run) -> None:
    status, said = run("backbones")
    lines = said.splitlines()
    assert status == 0
    assert "vgg16: 512 features, 14.7 million parameters" in lines
    assert "efficientnet_lite0: 1280 features, 3.4 million parameters" in lines
    assert len([line for line in lines if "an image of 32 pixels takes " in line]) >= 2
    assert "0.31 billion multiply-adds" in said
    assert "  MYCOFLOW_WEIGHTS=FILE.pth: a state_dict of EfficientNet-PyTorch that torch.save wrote" in lines


def test_a_model_from_folders_to_a_prediction_and_back(run: Run, few_digits: DigitFolders) -> None:
    assert run("ingest", str(few_digits.evaluation), "--split", "evaluation")[1].count("60 accepted") == 1
    assert "180 accepted" in run("ingest", str(few_digits.first), "--split", "pool")[1]
    assert "180 already known" in run("ingest", str(few_digits.first), "--split", "pool")[1]
    assert "no model yet" in run("status")[1]
    assert "No model version yet" in run("models")[1]

    status, said = run("retrain", "--request-key", "one", "--seed", "7")
    assert (status, "In production: version 1." in said) == (0, True)
    status, said = run("retrain", "--request-key", "one")
    assert "Version 1: promote." in said
    assert "nothing was trained now" in said
    status, said = run("retrain", "--request-key", "one", "--seed", "8", "--selection", "newest")
    assert (status, "began with: seed 7. Received: seed 8." in said) == (1, True)
    assert run("retrain", "--request-key", "one", "--seed", "7")[0] == 0

    assert "production" in run("models")[1]
    assert "anchor (decides)" in run("evaluate", "--version", "1")[1]
    assert "0 new images" in run("monitor")[1]
    file = next((few_digits.evaluation / "2").iterdir())
    assert run("predict", str(file), "--count", "1")[1].split()[1] == "2"
    status, said = run("predict", str(file), "--map", str(few_digits.evaluation.parent / "no map.png"))
    assert (status, "input of 32 pixels as one." in said) == (1, True)  # VGG16 halves it five times
    status, said = run("rollback")
    assert (status, "found none" in said) == (1, True)
    assert "Version 1 is in production." in run("promote", "1")[1]
    status, said = run("promote", "99")
    assert (status, "99" in said) == (1, True)


def test_a_map_is_written_beside_the_answer(
    run: Run, few_digits: DigitFolders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MYCOFLOW_BACKBONE", NAME)
    for folder, split in ((few_digits.evaluation, "evaluation"), (few_digits.first, "pool")):
        run("ingest", str(folder), "--split", split)
    assert run("retrain")[0] == 0
    file, picture = next((few_digits.evaluation / "2").iterdir()), tmp_path / "where it is.png"
    assert str(picture) in run("predict", str(file), "--map", str(picture))[1].replace("\n", "")
    with Image.open(picture) as image:
        assert (image.format, image.size) == ("PNG", (32, 32))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("monitor",), "found none"),
        (("evaluate",), "found none"),
        (("retrain",), "at least two classes"),
        (("retrain", "--seed", "-1"), "seed: expected"),
        (("finetune", "--layers", "0", "--epochs", "1"), "layers: expected 1 or more"),
        (("finetune", "--layers", "1"), "--epochs"),
        (("ingest", "/nowhere/at/all", "--split", "pool"), "/nowhere/at/all"),
        (("ingest", ".", "--split", "other"), "other"),
        (("ingest", ".", "--split", "pool", "--received-at", "yesterday"), "yesterday"),
        (("ingest",), "DIR and --split, or --source URL"),
        (("ingest", "."), "DIR and --split, or --source URL"),
        (("ingest", ".", "--source", "file:///drop"), "only --source"),
        (("ingest", "--source", "file:///drop", "--split", "pool"), "only --source"),
        (("ingest", "--source", "ftp://drop"), "ftp://drop"),
        (("maintenance", "maybe"), "maybe"),
        (("predict", "/nowhere/at/all.jpg"), "/nowhere/at/all.jpg"),
        (("predict", __file__, "--map", "map.jpg"), "map.jpg"),
        (("predict", __file__, "--map", "/nowhere/map.png"), "/nowhere/map.png"),
    ],
)
def test_an_expected_error_becomes_a_message_and_exit_status_1(
    run: Run, arguments: tuple[str, ...], expected: str
) -> None:
    status, said = run(*arguments)
    assert status != 0
    assert expected in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "url",
    [
        "ftp://drop",
        "s3://[x/y",
        "file:///a?b",
        "~nobody-at-all/x",
        "s3://key:secret@bucket/x",
        "az://images/new",
        "/a\0",
    ],
)
def test_an_error_names_the_option_where_a_person_gave_the_url(run: Run, url: str) -> None:
    status, said = run("ingest", "--source", url)
    assert (status, "--source: expected" in said, "MYCOFLOW_INGEST_SOURCES" in said) == (1, True, False), said


def test_a_source_is_ingested_as_the_dag_does_it(run: Run, few_digits: DigitFolders, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    shutil.copytree(few_digits.evaluation, drop)
    settle(drop)
    status, said = run("ingest", "--source", drop.as_uri())
    assert (status, "New batches: 1" in said) == (0, True), said
    assert "The source has no new files" in run("ingest", "--source", drop.as_uri())[1]
    for name in ("one.png", "two.png"):
        shutil.copy(next(drop.glob("*/*.png")), drop / name)
    status, said = run("ingest", "--source", drop.as_uri())
    assert (status, "2 files changed in the last minute" in said, "no new files" in said) == (0, True, False), said
    settle(drop)
    (drop / "groups.csv").write_text("file,group\n")
    assert "1 files changed in the last minute" in run("ingest", "--source", drop.as_uri())[1]
    assert "waiting" in run("batch", "list")[1]


def test_maintenance_is_switched_for_all_replicas(run: Run, catalog: Catalog) -> None:
    for state in ("on", "off"):
        assert f"Maintenance mode is {state}" in run("maintenance", state)[1]
        with catalog.begin() as connection:
            assert maintenance_mode.is_on(connection) == (state == "on")
    with catalog.begin() as connection:
        told = connection.execute(sa.select(events.c.kind, events.c.detail)).tuples().all()
    assert told == [("maintenance.switched", {"on": True}), ("maintenance.switched", {"on": False})]


def test_wrong_settings_are_all_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYCOFLOW_ACCURACY_FLOOR", "70")
    monkeypatch.setenv("MYCOFLOW_WEIGHTS", "resnet")
    status, said = run("status")
    assert status == 1
    assert "MYCOFLOW_ACCURACY_FLOOR" in said
    assert "expected imagenet, bundled, random, or a path" in said


def test_a_database_that_is_down_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hidden@127.0.0.1:1/none")
    status, said = run("status")
    assert (status, "PostgreSQL does not answer" in said, "hidden" in said) == (1, True, False)


def test_an_mlflow_that_is_down_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    status, said = run("models")
    assert (status, "MLFLOW_TRACKING_URI" in said) == (1, True)


def test_an_account_is_created_with_a_password_from_standard_input(run: Run, catalog: Catalog) -> None:
    assert run("user", "add", "alice", "--role", "expert", stdin="correct horse battery\n") == (
        0,
        "Account alice (expert) created.\n",
    )
    assert "taken" in run("user", "add", "alice", "--role", "user", stdin="correct horse battery\n")[1]
    assert "12 characters" in run("user", "add", "bob", "--role", "user", stdin="short\n")[1]
    assert run("user", "add", "bob", "--role", "king", stdin="correct horse battery\n")[0] == 2
    with pytest.raises(AccountError, match="expected 1 to 64"):
        add_account(catalog, "Not A Login", "user", "correct horse battery")
    with pytest.raises(AccountError, match="Role"):
        add_account(catalog, "carol", "king", "correct horse battery")


def test_help_names_every_command() -> None:
    environment = {**os.environ, "COLUMNS": "120"}
    command = [str(Path(sys.executable).parent / "mycoflow"), "--help"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    for name in ("ingest", "sample", "monitor", "retrain", "evaluate", "promote", "rollback", "release", "models"):
        assert name in said
    for name in ("finetune", "predict", "serve", "user", "snapshot", "migrate", "status"):
        assert name in said
