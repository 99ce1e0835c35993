"""`mycoflow init`: every variable that docker-compose.yml demands has a value, and nobody else can read it."""

import base64
import re
import shutil
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ml.cli.main import app
from ml.errors import SettingsError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / ".env.example", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def variables(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_all_that_compose_demands_is_set_with_secrets_of_their_own(folder: Path) -> None:
    ran = CliRunner().invoke(app, ["init", "--domain", "mushrooms.example.org", "--email", "bob@example.org"])
    assert ran.exit_code == 0, ran.output
    file = folder / ".env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = variables(file)
    assert written.keys() == variables(ROOT / ".env.example").keys()
    demanded = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert {name for name in demanded if not written.get(name)} == set()
    assert (written["DOMAIN"], written["ACME_EMAIL"]) == ("mushrooms.example.org", "bob@example.org")
    assert len(base64.urlsafe_b64decode(written["AIRFLOW_FERNET_KEY"])) == 32
    drawn = [value for name, value in written.items() if value and name not in {"DOMAIN", "ACME_EMAIL"}]
    assert len(drawn) == len(set(drawn)) > 20
    secret = [value for name, value in written.items() if name.endswith(("PASSWORD", "SECRET_KEY", "JWT_SECRET"))]
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in secret)
    assert not any(value in ran.output for value in drawn)
    assert written["MYCOFLOW_GRAFANA_TOKEN"] == ""


def test_what_is_there_stays(folder: Path) -> None:
    (folder / ".env").write_text("DOMAIN=mine\n")
    ran = CliRunner().invoke(app, ["init"])
    assert isinstance(ran.exception, SettingsError)
    assert "It stays as it is" in str(ran.exception)
    assert (folder / ".env").read_text() == "DOMAIN=mine\n"


@pytest.mark.parametrize("options", [["--domain", "a b"], ["--domain", "x\nPOSTGRES_PASSWORD=y"], ["--email", "$(id)"]])
def test_what_would_be_another_line_is_refused(folder: Path, options: list[str]) -> None:
    ran = CliRunner().invoke(app, ["init", *options])
    assert isinstance(ran.exception, SettingsError)
    assert not (folder / ".env").exists()


def test_elsewhere_it_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = CliRunner().invoke(app, ["init"])
    assert "docker-compose.yml" in str(ran.exception)


def test_the_version_is_told() -> None:
    ran = CliRunner().invoke(app, ["--version"])
    assert (ran.exit_code, re.fullmatch(r"mycoflow \d+\.\d+\.\d+\n", ran.output) is not None) == (0, True)
