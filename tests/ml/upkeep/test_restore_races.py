"""A restore deletes only what it created, whatever other processes do meanwhile."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml.app import Workspace, open_workspace
from ml.catalog.database import migrate
from ml.catalog.home_choices import has_unfinished_restore, unfinished_restore
from ml.errors import BackupError, DatabaseUnavailableError, SettingsError
from ml.settings import Settings
from ml.upkeep.backup import back_up
from ml.upkeep.database_dump import restore_database
from ml.upkeep.restore import restore
from stack.database_setup import migrate_all
from stack.environment import find_addresses
from tests.deployments import small_settings


@pytest.fixture
def fresh(new_database: Callable[[], str], tmp_path: Path) -> Settings:
    """A deployment that holds nothing, on external databases."""
    return small_settings(tmp_path / "elsewhere", new_database()).model_copy(
        update={"mlflow_tracking_uri": new_database()}
    )


@pytest.fixture
def folder(filled_workspace: Workspace, tmp_path: Path) -> Path:
    """A backup."""
    back_up(filled_workspace, tmp_path / "monday")
    return tmp_path / "monday"


def count_images(settings: Settings) -> int:
    with open_workspace(settings) as workspace, workspace.catalog.begin() as connection:
        return int(connection.scalar(sa.text("SELECT count(*) FROM training.images")) or 0)


def tables(url: str) -> set[str]:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        return set(
            connection.scalars(sa.text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '^(pg|sql)_'"))
        )


def fill(url: str) -> None:
    """As MLflow's own programs do, which know nothing of a restore."""
    with sa.create_engine(url, poolclass=sa.pool.NullPool).begin() as connection:
        connection.execute(sa.text("CREATE TABLE experiments (of_another integer)"))


@pytest.mark.parametrize("has_own_home", [False, True])
def test_two_restores_do_not_meet_from_the_first_check_to_the_end(
    fresh: Settings, folder: Path, has_own_home: bool, tmp_path: Path
) -> None:
    other = fresh.model_copy(update={"mycoflow_home": tmp_path / "another"}) if has_own_home else fresh
    refused = []

    def begin_another(done: int, _total: int) -> None:
        if done > 1:
            return
        with pytest.raises(BackupError, match=r"Another one.* running"):
            restore(other, folder)
        refused.append(done)

    restore(fresh, folder, begin_another)
    assert refused
    assert not (tmp_path / "another").exists()
    before = count_images(fresh)
    with pytest.raises(BackupError, match=r"Found data in the catalog's database, MLflow's database"):
        restore(other, folder)
    assert count_images(fresh) == before > 0


@pytest.mark.parametrize("content", ["", "0123456789abcdef", "damaged'; --"])
def test_a_marker_without_marks_in_the_databases_does_not_delete_a_good_deployment(
    fresh: Settings, folder: Path, content: str
) -> None:
    restore(fresh, folder)
    before = count_images(fresh)
    unfinished_restore(fresh).write_text(content)
    with pytest.raises(BackupError, match="Found data in the catalog's database"):
        restore(fresh, folder)
    unfinished_restore(fresh).unlink(missing_ok=True)
    assert count_images(fresh) == before > 0


def test_nothing_migrates_a_database_while_it_is_restored(fresh: Settings, folder: Path, tmp_path: Path) -> None:
    other = fresh.model_copy(update={"mycoflow_home": tmp_path / "another"})

    def meet(done: int, _total: int) -> None:
        if done > 1:
            return
        with pytest.raises(DatabaseUnavailableError, match="is being restored from a backup"):
            migrate(other)
        with pytest.raises(SettingsError, match=r"A restore into .* is running"):
            migrate_all(fresh, find_addresses(fresh), {}, tmp_path)
        assert not list(tmp_path.glob("*.log"))

    restore(fresh, folder, meet)
    assert count_images(fresh) > 0


def test_a_database_that_is_filled_during_the_checks_stays(fresh: Settings, folder: Path) -> None:
    mlflow = str(fresh.mlflow_tracking_uri)

    def meet(done: int, _total: int) -> None:
        if done == 1:
            fill(mlflow)

    with pytest.raises(BackupError, match=r"Found data in MLflow's database"):
        restore(fresh, folder, meet)
    assert tables(mlflow) == {"experiments"}
    assert not has_unfinished_restore(fresh)


def test_a_database_that_is_filled_just_before_the_restore_writes_stays(
    fresh: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = str(fresh.mlflow_tracking_uri)

    def meet(url: sa.URL, file: Path) -> None:
        fill(mlflow)
        restore_database(url, file)

    with monkeypatch.context() as patched:
        patched.setattr("ml.upkeep.restore.restore_database", meet)
        with pytest.raises(BackupError, match="already exists"):
            restore(fresh, folder)
    assert tables(mlflow) == {"experiments"}
    assert not has_unfinished_restore(fresh)


@pytest.mark.parametrize("first", [BackupError("the first error"), KeyboardInterrupt("the first error")])
def test_an_error_while_it_deletes_does_not_hide_the_first_one(
    fresh: Settings,
    folder: Path,
    first: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise first

    def fail_to_delete(*_: object) -> None:
        raise DatabaseUnavailableError("PostgreSQL has ended")

    with monkeypatch.context() as patched:
        patched.setattr("ml.upkeep.restore.move_uris", fail)
        patched.setattr("ml.upkeep.restore.empty_database", fail_to_delete)
        with pytest.raises(type(first), match="the first error"):
            restore(fresh, folder)
    assert "Run `mycoflow restore` again, which deletes it: PostgreSQL has ended" in caplog.text
    assert has_unfinished_restore(fresh)
    restore(fresh, folder)
    assert count_images(fresh) > 0
    assert not any(name.startswith("restore_") for name in tables(str(fresh.mlflow_tracking_uri)))


def test_a_home_that_cannot_be_written_is_told(fresh: Settings, folder: Path) -> None:
    fresh.mycoflow_home.write_text("a file")
    with pytest.raises(BackupError, match="make the folder writable"):
        restore(fresh, folder)


def test_a_tool_that_outlives_a_killed_restore_keeps_the_next_one_out(
    fresh: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool = tmp_path / "pg_restore"
    tool.write_text("#!/bin/sh\nexec sleep 6\n")
    tool.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr("ml.upkeep.database_dump._tool_path", lambda _: str(tool))
        child = os.fork()
        if child == 0:
            restore(fresh, folder)
    while not unfinished_restore(fresh).exists() or not unfinished_restore(fresh).read_text():
        time.sleep(0.05)
    time.sleep(1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with pytest.raises(BackupError, match="Another one is running"):
        restore(fresh, folder)
    time.sleep(6)
    restore(fresh, folder)
    assert count_images(fresh) > 0
