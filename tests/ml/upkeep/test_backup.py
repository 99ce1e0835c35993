"""A backup, and a restore into a deployment that holds nothing: it then predicts the same."""

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml import cycle
from ml.app import Workspace, open_workspace
from ml.catalog.annotations import Annotation
from ml.catalog.database import head_revision, migrate
from ml.catalog.home_choices import has_unfinished_restore, unfinished_restore
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.items.texts import load_texts, read_text
from ml.catalog.locks import PROMOTION, UPKEEP
from ml.catalog.tables import events
from ml.data.descriptions import change_description
from ml.data.membership import Arrival, enter
from ml.errors import BackupError, CatalogError, DatabaseUnavailableError, SettingsError
from ml.ingest.digits import DigitFolders
from ml.reporting.inventory import list_models
from ml.settings import Settings
from ml.training.recipes import Retrain
from ml.upkeep.backup import back_up
from ml.upkeep.backup_manifest import FILE_NAME, load_manifest
from ml.upkeep.database_dump import is_empty, restore_database
from ml.upkeep.forgetting import lock_upkeep
from ml.upkeep.restore import restore
from tests.deployments import small_settings
from tests.memory import memory_folder

PARAMETERS = Retrain(snapshot_size=200)


@pytest.fixture
def fresh(new_database: Callable[[], str], tmp_path: Path) -> Settings:
    """A deployment that holds nothing, elsewhere."""
    return small_settings(tmp_path / "elsewhere", new_database()).model_copy(
        update={"mlflow_tracking_uri": new_database()}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "monday"


def test_a_restored_deployment_predicts_the_same_and_goes_on(
    trained: Workspace, few_digits: DigitFolders, fresh: Settings, folder: Path
) -> None:
    content = next((few_digits.evaluation / "1").iterdir()).read_bytes()
    before = cycle.predict(trained, content, 10)[:2]
    seen: list[tuple[int, int]] = []
    manifest = back_up(trained, folder, lambda done, total: seen.append((done, total)), "ada")
    with trained.catalog.begin() as connection:
        said = connection.execute(
            sa.select(events.c.actor, events.c.detail).where(events.c.kind == "backup.made")
        ).one()
    assert said == ("ada", {"folder": str(folder), "files": len(manifest.files)})
    assert seen[-1][0] == seen[-1][1] > 240  # images and backbones
    assert load_manifest(folder) == manifest
    trained.settings.mycoflow_home.rename(folder.parent / "lost")

    restore(fresh, folder)
    with open_workspace(fresh) as restored:
        assert cycle.predict(restored, content, 10)[:2] == before
        assert [(model.version, model.is_champion) for model in list_models(restored)] == [(1, True)]
        assert cycle.monitor(restored).new_images == 0
        again = cycle.retrain(restored, "second", "test", PARAMETERS)
        assert (again.model_version, again.verdict.champion_version) == (2, 1)
        assert cycle.retrain(restored, "first", "test", PARAMETERS).model_version == 1
    assert list(fresh.mycoflow_home.glob("mlflow/mycoflow-training/models/*"))


def test_a_backup_that_would_lack_the_champion_s_files_is_refused(trained: Workspace, folder: Path) -> None:
    moved = trained.settings.mycoflow_home.with_name("it's [moved]")
    trained.settings.mycoflow_home.rename(moved)
    elsewhere = replace(trained, settings=trained.settings.model_copy(update={"mycoflow_home": moved}))
    with pytest.raises(BackupError, match=r"version 1, which is in production, under file://.*They are at file://"):
        back_up(elsewhere, folder)
    assert not folder.exists()


@pytest.mark.parametrize("gone", ["*/models/*", "*/models/*/artifacts", "**/model.onnx"])
def test_a_backup_without_the_champion_s_files_is_refused_in_each_form(
    trained: Workspace, folder: Path, gone: str
) -> None:
    (path,) = (trained.settings.mycoflow_home / "mlflow").glob(gone)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(BackupError, match=r"files of version 1, which is in production.*Or promote another version"):
        back_up(trained, folder)
    assert list(folder.parent.iterdir()) == []


def test_the_champion_s_files_are_looked_for_after_the_last_promotion(trained: Workspace, folder: Path) -> None:
    with ThreadPoolExecutor(1) as other:
        with trained.catalog.lock(PROMOTION):
            running = other.submit(back_up, trained, folder)
            time.sleep(1)
            shutil.rmtree(trained.settings.mycoflow_home / "mlflow")  # as a promotion of a version elsewhere
        with pytest.raises(BackupError, match="version 1, which is in production"):
            running.result()
    assert not folder.exists()


def test_a_question_whether_an_upkeep_runs_does_not_stop_one(workspace: Workspace, folder: Path) -> None:
    with ThreadPoolExecutor(1) as other, workspace.catalog.begin() as asking:
        assert asking.scalar(sa.select(sa.func.pg_try_advisory_xact_lock_shared(*UPKEEP.key)))
        running = other.submit(back_up, workspace, folder)
        time.sleep(0.5)
        asking.rollback()
        running.result()
    assert load_manifest(folder).files


def test_texts_and_the_versions_of_items_come_back(workspace: Workspace, fresh: Settings, folder: Path) -> None:
    record = ItemRecord("shop", text=read_text("a c\u00e8pe"))
    with workspace.catalog.begin() as connection:
        enter(connection, [Arrival(record, Annotation(("a", "b"), {"from": "the shop"}))], "pool", "test")
        version = change_description(connection, record.id, read_text("a large c\u00e8pe"), "test")
    stored = [
        f"SELECT {columns} FROM training.{table} ORDER BY 1"
        for table, columns in (
            ("items", "id, items"),
            ("texts", "sha256, content"),
            ("item_classes", "class_name, item_id"),
        )
    ]
    back_up(workspace, folder)
    restore(fresh, folder)
    with open_workspace(fresh) as restored, restored.catalog.begin() as connection:
        with workspace.catalog.begin() as before:
            for query in stored:
                assert connection.execute(sa.text(query)).all() == before.execute(sa.text(query)).all() != []
        assert load_texts(connection, [record.id, version]).keys() == {record.id, version}
        # The triggers came, too.
        change_description(connection, version, read_text("a bolete"), "test")
        entered = "SELECT count(*) FROM training.item_classes WHERE entered_pool_at IS NOT NULL"
        assert connection.scalar(sa.text(entered)) == 2


def test_a_backup_needs_a_folder_of_its_own_and_is_whole_or_not_there(workspace: Workspace, folder: Path) -> None:
    folder.mkdir(parents=True)
    back_up(workspace, folder)
    with pytest.raises(BackupError, match="empty or missing folder"):
        back_up(workspace, folder)
    other = folder.with_name("tuesday")
    with lock_upkeep(workspace.catalog), pytest.raises(CatalogError, match="Another one is running"):
        back_up(workspace, other)
    assert [path.name for path in folder.parent.iterdir()] == ["monday"]


def test_a_second_backup_into_the_same_folder_leaves_the_first_one_whole(
    filled_workspace: Workspace, fresh: Settings, folder: Path
) -> None:
    refused = []

    def begin_another(done: int, _total: int) -> None:
        if done > 1:
            return
        with pytest.raises(CatalogError, match="Another one is running"):
            back_up(filled_workspace, folder)
        refused.append(folder)

    manifest = back_up(filled_workspace, folder, begin_another)
    assert refused
    assert {"catalog.dump", "mlflow.dump"} < manifest.files.keys()
    assert restore(fresh, folder) == manifest


@pytest.mark.parametrize("is_there", [False, True])
def test_a_backup_is_closed_to_all_but_its_owner(workspace: Workspace, folder: Path, is_there: bool) -> None:
    if is_there:
        folder.mkdir(parents=True, mode=0o755)
    before = os.umask(0o022)
    try:
        back_up(workspace, folder)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("missing", ["catalog.dump", "mlflow.dump"])
def test_a_backup_without_its_dumps_is_refused(
    workspace: Workspace, fresh: Settings, folder: Path, missing: str
) -> None:
    back_up(workspace, folder)
    manifest = json.loads((folder / FILE_NAME).read_text())
    del manifest["files"][missing]
    (folder / FILE_NAME).write_text(json.dumps(manifest))
    (folder / missing).unlink()
    with pytest.raises(BackupError, match=f"complete backup.*{missing}"):
        restore(fresh, folder)
    assert not fresh.mycoflow_home.exists()


def test_a_database_that_does_not_answer_is_told_without_the_password(
    workspace: Workspace, fresh: Settings, folder: Path
) -> None:
    back_up(workspace, folder)
    dead = SecretStr("postgresql://user:hidden@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnavailableError, match="Start it, or correct DATABASE_URL") as refused:
        restore(fresh.model_copy(update={"database_url": dead}), folder)
    assert "hidden" not in str(refused.value)


@pytest.fixture
def person_without_rights(workspace: Workspace) -> Iterator[str]:
    """An account of the database server that may log in, and nothing else."""
    name = f"person_{secrets.token_hex(4)}"
    with workspace.catalog.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {name} LOGIN"))
    yield name
    with workspace.catalog.begin() as connection:
        connection.execute(sa.text(f"DROP ROLE {name}"))


def test_without_the_right_to_create_roles_nothing_is_restored(
    filled_workspace: Workspace,
    fresh: Settings,
    folder: Path,
    person_without_rights: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    back_up(filled_workspace, folder)
    assert fresh.database_url is not None
    url = sa.make_url(fresh.database_url.get_secret_value()).set(username=person_without_rights)
    limited = SecretStr(url.render_as_string(hide_password=False))
    with monkeypatch.context() as patched, pytest.raises(BackupError, match=r"permission denied.*CREATEROLE"):
        patched.setattr("ml.upkeep.database_dump._ROLES", ("a_role_that_the_server_lacks",))
        restore(fresh.model_copy(update={"database_url": limited}), folder)
    assert not fresh.mycoflow_home.exists()
    restore(fresh, folder)


def test_a_damaged_backup_is_refused_before_anything_is_restored(
    filled_workspace: Workspace, fresh: Settings, folder: Path
) -> None:
    manifest = back_up(filled_workspace, folder)
    images = [name for name in manifest.files if name.startswith("store/images")]
    (folder / images[0]).write_bytes(b"another")
    (folder / images[1]).unlink()
    (folder / "store" / "stowaway").write_bytes(b"")
    with pytest.raises(BackupError, match="Missing, changed or not in the manifest") as refused:
        restore(fresh, folder)
    assert all(name in str(refused.value) for name in (images[0], images[1], "store/stowaway"))
    assert not fresh.mycoflow_home.exists()


def test_a_deployment_that_holds_something_is_not_overwritten(
    filled_workspace: Workspace, fresh: Settings, folder: Path
) -> None:
    back_up(filled_workspace, folder)
    with pytest.raises(BackupError, match="the catalog's database, MLflow's database"):
        restore(filled_workspace.settings, folder)
    migrate(fresh)
    with pytest.raises(BackupError, match="new MYCOFLOW_HOME"):
        restore(fresh, folder)


def test_what_is_no_backup_or_of_another_kind_is_refused(workspace: Workspace, fresh: Settings, folder: Path) -> None:
    with pytest.raises(BackupError, match="`mycoflow backup` made"):
        restore(fresh, folder)
    back_up(workspace, folder)
    server = fresh.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:1"})
    with pytest.raises(BackupError, match="leave MLFLOW_TRACKING_URI empty"):
        restore(server, folder)
    text = (folder / FILE_NAME).read_text()
    (folder / FILE_NAME).write_text(text.replace(head_revision(), "schema_9999"))
    with pytest.raises(BackupError, match="Update Mycoflow first"):
        restore(fresh, folder)
    (folder / FILE_NAME).write_text(text.replace(head_revision(), "0009"))
    with pytest.raises(BackupError, match=r"earlier checkout \(migration 0009\).*cannot be carried over"):
        restore(fresh, folder)
    (folder / FILE_NAME).write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(BackupError, match="format 1, got 2"):
        restore(fresh, folder)


def fail(error: BaseException) -> Callable[..., None]:
    def raise_it(*_: object, **__: object) -> None:
        raise error

    return raise_it


def fail_for_catalog(url: sa.URL, file: Path) -> None:
    """Restore MLflow's database, and give the catalog's a file that is no dump."""
    restore_database(url, file if file.name == "mlflow.dump" else file.with_name(FILE_NAME))


FAILURES: dict[str, tuple[str, Callable[..., None]]] = {
    "the catalog's dump": ("restore_database", fail_for_catalog),
    "MLflow's addresses": ("move_uris", fail(DatabaseUnavailableError("PostgreSQL ended"))),
    "MLflow's files": ("shutil.copytree", fail(OSError(28, "No space left on device"))),
    "an interruption": ("move_uris", fail(KeyboardInterrupt())),
}


def test_a_restore_that_fails_half_way_leaves_nothing_and_the_next_one_succeeds(
    trained: Workspace, fresh: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(trained, folder)
    for name, (part, failing) in FAILURES.items():
        with monkeypatch.context() as patched:
            patched.setattr(f"ml.upkeep.restore.{part}", failing)
            with pytest.raises((BackupError, DatabaseUnavailableError, KeyboardInterrupt)):
                restore(fresh, folder)
        assert not has_unfinished_restore(fresh), name
        assert is_empty(sa.make_url(str(fresh.mlflow_tracking_uri))), name
        assert not (fresh.mycoflow_home / "mlflow").exists(), name
    restore(fresh, folder)
    with open_workspace(fresh) as restored:
        assert [model.version for model in list_models(restored)] == [1]


def test_a_restore_that_was_killed_is_begun_anew_and_nothing_else_uses_the_home(
    trained: Workspace, fresh: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(trained, folder)
    with monkeypatch.context() as patched:
        patched.setattr("ml.upkeep.restore.restore_database", kill_after_mlflow)
        child = os.fork()
        if child == 0:
            restore(fresh, folder)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert has_unfinished_restore(fresh)
    for use in (lambda: open_workspace(fresh).__enter__(), lambda: migrate(fresh)):
        with pytest.raises(SettingsError, match="`mycoflow restore FOLDER` again"):
            use()
    restore(fresh, folder)
    with open_workspace(fresh) as restored:
        assert [model.version for model in list_models(restored)] == [1]


def kill_after_mlflow(url: sa.URL, file: Path) -> None:
    """Restore MLflow's database, and die before the catalog's."""
    if file.name == "catalog.dump":
        os.kill(os.getpid(), signal.SIGKILL)
    restore_database(url, file)


def test_two_restores_into_one_home_do_not_meet(workspace: Workspace, fresh: Settings, folder: Path) -> None:
    back_up(workspace, folder)
    fresh.mycoflow_home.mkdir()
    with unfinished_restore(fresh).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="Another one is running"):
            restore(fresh, folder)


@pytest.fixture
def homes() -> Iterator[Path]:
    """Not under pytest's own folder: that is closed to the user that the embedded server runs as."""
    where = memory_folder()
    with tempfile.TemporaryDirectory(prefix="mycoflow-homes-", dir=where, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_with_all_embedded_two_commands_move_a_deployment(homes: Path, few_digits: DigitFolders) -> None:
    def run(home: str, *arguments: str) -> str:
        own = {"MYCOFLOW_HOME": str(homes / home), "MYCOFLOW_WEIGHTS": "random"}
        environment = {**os.environ, **own, "COLUMNS": "200"}
        command = [str(Path(sys.executable).parent / "mycoflow"), *arguments]
        done = subprocess.run(
            command, env=environment, cwd=homes, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("old", "ingest", str(few_digits.first), "--split", "pool")
    before = run("old", "status")
    assert "180" in before
    run("old", "backup", str(homes / "copy"))
    assert "Restored the state of" in run("new", "restore", str(homes / "copy"))
    assert run("new", "status") == before
    assert "Nothing was deleted" in run("new", "purge")
