import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ml.catalog.models.served_versions import ServingState
from ml.errors import (
    DatabaseUnavailableError,
    ModelError,
    ModelLoadError,
    RegistryStateError,
    RegistryUnavailableError,
    UnknownVersionError,
)
from ml.registry.file_hashes import write_hashes
from ml.registry.registry_state import demand_same_run
from ml.serving.model_host import ModelHost
from ml.serving.serving_cache import ServingCache
from ml.tasks.classification.classification_task import TASK


@dataclass
class ScriptedRegistry:
    """A fake of MLflow. process/test_gunicorn.py uses the real one."""

    bundles: Path
    alias: int | None = None
    is_down: bool = False
    run_prefix: str = "run"
    refusal: ModelError | None = None
    downloads: list[int] = field(default_factory=list)

    def champion(self) -> int | None:
        if self.is_down:
            raise RegistryUnavailableError("MLflow does not answer")
        return self.alias

    def demand_run(self, version: int, mlflow_run_id: str) -> None:
        demand_same_run("mycoflow", version, mlflow_run_id, f"{self.run_prefix}{version}")

    def download(self, version: int, folder: Path) -> Path:
        if self.refusal is not None:
            raise self.refusal
        bundle = folder / f"{version}-{self.run_prefix}{version}"
        if not bundle.exists():
            self.downloads.append(version)
            shutil.copytree(self.bundles / str(version), bundle)
        return bundle


@pytest.fixture
def registry(tmp_path: Path, write_bundle: Callable[[Path, int], Path]) -> ScriptedRegistry:
    for version in (1, 2, 3):
        write_bundle(tmp_path / "registered" / str(version), version)
    return ScriptedRegistry(tmp_path / "registered")


@pytest.fixture
def states() -> list[ServingState]:
    """The states that a host has recorded, one after each poll."""
    return []


@pytest.fixture
def known() -> dict[int, str]:
    """The runs of the versions that the catalog knows."""
    return {}


@pytest.fixture
def new_host(
    tmp_path: Path, registry: ScriptedRegistry, states: list[ServingState], known: dict[int, str]
) -> Callable[[], ModelHost]:
    """Return a function that simulates a restart on the same machine: it creates a host on the same cache."""
    return lambda: ModelHost(ServingCache(tmp_path / "serving"), lambda: registry, 0.02, states.append, TASK, known.get)


def served(host: ModelHost) -> int | None:
    return host.current.version if host.current else None


def test_nothing_is_served_before_the_first_champion(new_host: Callable[[], ModelHost]) -> None:
    host = new_host()
    host.load_cached()
    host.poll()
    assert served(host) is None


def test_the_alias_is_followed(registry: ScriptedRegistry, new_host: Callable[[], ModelHost]) -> None:
    host = new_host()
    for version in (1, 2, 1):
        registry.alias = version
        host.poll()
        host.poll()
        assert served(host) == version
    assert registry.downloads == [1, 2]  # the way back to version 1 needs no download


def test_loading_and_swapping_are_timed(registry: ScriptedRegistry, new_host: Callable[[], ModelHost]) -> None:
    host = new_host()
    for version in (1, 2):
        registry.alias = version
        host.poll()
    assert 0 < host.figures.load_seconds < host.figures.swap_seconds < 60
    assert host.figures.swaps == 1


def test_a_request_under_way_keeps_its_model(registry: ScriptedRegistry, new_host: Callable[[], ModelHost]) -> None:
    host = new_host()
    registry.alias = 1
    host.poll()
    held = host.current
    registry.alias = 2
    host.poll()
    assert held is not None
    assert held.version == 1
    assert held.card.classes


def test_a_start_takes_the_cached_model_while_mlflow_is_down(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost]
) -> None:
    registry.alias = 2
    new_host().poll()
    registry.is_down = True
    host = new_host()
    host.load_cached()
    host.poll()
    assert served(host) == 2


def test_an_outage_is_told_once_and_ends_by_itself(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host = new_host()
    registry.alias = 1
    host.poll()
    registry.is_down = True
    for _ in range(3):
        host.poll()
    registry.is_down, registry.alias = False, 2
    host.poll()
    assert served(host) == 2
    assert [text for text in caplog.messages if "alias" in text] == [
        "The alias cannot be followed; the current model stays in service: MLflow does not answer",
        "The alias can be followed again",
    ]


def test_a_version_that_does_not_load_is_refused_once_and_the_old_one_stays(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost], caplog: pytest.LogCaptureFixture
) -> None:
    host = new_host()
    registry.alias = 1
    host.poll()
    (registry.bundles / "2" / "model.onnx").write_bytes(b"damaged")
    registry.alias = 2
    for _ in range(3):
        host.poll()
    assert served(host) == 1
    assert registry.downloads == [1, 2]
    assert host.figures.load_failures == 1
    assert len([text for text in caplog.messages if "Model version 2 cannot be served" in text]) == 1
    registry.alias = 3
    host.poll()
    assert served(host) == 3


def test_each_look_says_what_answers_and_why_the_version_in_production_does_not(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost], states: list[ServingState]
) -> None:
    host = new_host()
    host.poll()
    (registry.bundles / "2" / "model.onnx").write_bytes(b"damaged")
    for version in (1, 2, 2, 1, 3):
        registry.alias = version
        host.poll()
        assert host.in_production == version
    registry.is_down = True
    host.poll()
    assert [(state.version, state.refused_version) for state in states] == [
        (None, None), (1, None), (1, 2), (1, 2), (1, None), (3, None), (3, None),
    ]  # fmt: skip
    assert [state.load_error is None for state in states] == [state.refused_version is None for state in states]


def test_a_refused_version_is_tried_again_later_with_fresh_files(
    registry: ScriptedRegistry,
    new_host: Callable[[], ModelHost],
    write_bundle: Callable[[Path, int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = new_host()
    (registry.bundles / "2" / "model.onnx").unlink()
    registry.alias = 2
    host.poll()
    shutil.rmtree(registry.bundles / "2")
    write_bundle(registry.bundles / "2", 2)
    later = time.monotonic() + 301
    monkeypatch.setattr("ml.serving.model_host.time.monotonic", lambda: later)
    host.poll()
    assert served(host) == 2


def test_a_damaged_cache_is_dropped_and_filled_again(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost], tmp_path: Path
) -> None:
    registry.alias = 1
    new_host().poll()
    (tmp_path / "serving" / "1-run1" / "model.onnx").write_bytes(b"half a fi")
    host = new_host()
    host.load_cached()
    assert served(host) is None
    host.poll()
    assert served(host) == 1


def leave_other_bytes(folder: Path) -> None:
    (folder / "current").write_bytes(b"\xff\xfe\x00 1-run1")


def leave_a_folder(folder: Path) -> None:
    (folder / "current").unlink()
    (folder / "current" / "inside").mkdir(parents=True)


def leave_a_pipe(folder: Path) -> None:
    (folder / "current").unlink()
    os.mkfifo(folder / "current")


def leave_a_loop(folder: Path) -> None:
    (folder / "current").unlink()
    (folder / "current").symlink_to("current")


def leave_a_way_out(folder: Path) -> None:
    (folder / "current").write_text("../registered/2\n")


def leave_nothing(folder: Path) -> None:
    (folder / "current").write_bytes(b"")


def leave_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def leave_a_dangling_link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")


@pytest.mark.parametrize(
    "damage",
    [
        leave_other_bytes,
        leave_a_folder,
        leave_a_pipe,
        leave_a_loop,
        leave_a_way_out,
        leave_nothing,
        leave_a_file,
        leave_a_dangling_link,
    ],
)
def test_whatever_is_in_place_of_the_cache_the_service_starts_and_mends_it(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    registry.alias = 1
    new_host().poll()
    damage(tmp_path / "serving")
    host = new_host()
    host.load_cached()
    assert served(host) is None
    host.poll()
    assert served(host) == 1
    again = new_host()
    again.load_cached()
    assert served(again) == 1


def test_a_cached_bundle_that_was_swapped_with_another_versions_is_not_served(
    new_host: Callable[[], ModelHost], tmp_path: Path, registry: ScriptedRegistry
) -> None:
    folder = tmp_path / "serving"
    hashes = {version: write_hashes(registry.bundles / str(version)) for version in (1, 2)}
    shutil.copytree(registry.bundles / "2", folder / f"1-run-{hashes[1]}")
    ServingCache(folder).set_current(folder / f"1-run-{hashes[1]}")
    host = new_host()
    host.load_cached()
    assert served(host) is None
    shutil.copytree(registry.bundles / "1", folder / f"1-run-{hashes[1]}")
    host.load_cached()
    assert served(host) == 1


def test_the_cache_holds_the_current_and_the_previous_version(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost], tmp_path: Path
) -> None:
    host = new_host()
    for name, age_seconds in ((".download-crashed", 4000), (".download-of-a-neighbour", 10)):
        (tmp_path / "serving" / name).mkdir(parents=True)
        os.utime(tmp_path / "serving" / name, (time.time() - age_seconds,) * 2)
    for version in (1, 2, 3):
        registry.alias = version
        host.poll()
    left = sorted(path.name for path in (tmp_path / "serving").iterdir())
    assert left == [".download-of-a-neighbour", "2-run2", "3-run3", "current"]


def test_the_same_version_number_of_another_registry_is_another_model(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost]
) -> None:
    registry.alias = 1
    new_host().poll()
    registry.run_prefix = "other"
    host = new_host()
    host.load_cached()
    host.poll()
    assert host.current is not None
    assert host.current.bundle.name == "1-other1"


def test_a_version_of_another_run_than_the_catalogs_is_not_swapped_in(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost], known: dict[int, str]
) -> None:
    known.update({1: "run1", 2: "run2"})
    host = new_host()
    registry.alias = 1
    host.poll()
    registry.run_prefix, registry.alias = "other", 2
    host.poll()
    assert served(host) == 1
    assert registry.downloads == [1]
    assert "correct MLFLOW_TRACKING_URI" in str(host.state.load_error)


def test_a_foreign_version_of_the_same_number_does_not_delete_the_served_copy(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost], known: dict[int, str], tmp_path: Path
) -> None:
    known[1] = "run1"
    registry.alias = 1
    new_host().poll()
    registry.run_prefix = "other"
    host = new_host()
    host.load_cached()
    host.poll()
    assert "correct MLFLOW_TRACKING_URI" in str(host.state.load_error)
    assert (tmp_path / "serving" / "1-run1" / "model.onnx").is_file()
    again = new_host()
    again.load_cached()
    assert served(again) == 1


@pytest.mark.parametrize("refusal", [ModelLoadError, RegistryStateError, UnknownVersionError])
@pytest.mark.parametrize("alias", [1, 2])
def test_a_version_that_mlflow_does_not_give_leaves_all_good_copies(
    registry: ScriptedRegistry, new_host: Callable[[], ModelHost], refusal: type[ModelError], alias: int
) -> None:
    for version in (2, 1):
        registry.alias = version
        new_host().poll()
    registry.alias, registry.refusal = alias, refusal("the tag was edited")
    host = new_host()
    host.load_cached()
    host.poll()
    assert host.figures.load_failures == 1
    assert served(host) == 1
    registry.is_down = True
    again = new_host()
    again.load_cached()
    assert served(again) == 1


def test_without_the_database_no_version_is_swapped_in_and_the_runs_are_compared_later(
    registry: ScriptedRegistry,
    new_host: Callable[[], ModelHost],
    known: dict[int, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_version: int) -> None:
        raise DatabaseUnavailableError("PostgreSQL does not answer")

    known.update({1: "run1", 2: "run2"})
    registry.alias = 1
    new_host().poll()
    registry.run_prefix, registry.alias = "other", 2
    host = new_host()
    host.load_cached()
    with monkeypatch.context() as patch:
        patch.setattr(host, "_known_run", fail)
        for _ in range(2):
            host.poll()
    assert (served(host), registry.downloads, host.figures.load_failures) == (1, [1], 0)
    assert len([text for text in caplog.messages if "PostgreSQL does not answer" in text]) == 1
    host.poll()
    assert (served(host), registry.downloads) == (1, [1])
    assert "correct MLFLOW_TRACKING_URI" in str(host.state.load_error)
    registry.run_prefix = "run"
    host.poll_now()
    host.poll()
    assert served(host) == 2


def test_the_thread_follows_the_alias_and_ends(registry: ScriptedRegistry, new_host: Callable[[], ModelHost]) -> None:
    host = new_host()
    host.start()
    registry.alias = 3
    deadline = time.monotonic() + 60
    while served(host) != 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    host.stop()
    assert served(host) == 3
