import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from ml.errors import ModelLoadError, RegistryUnavailableError, UnknownVersionError
from ml.registry.mlflow_registry import Registry
from ml.registry.mlflow_runs import DatasetSummary
from ml.tasks.classification.classifier import Classifier
from ml.tasks.classification.fitting.head_training import TrainedHead

OPEN_REGISTRY = "from ml.registry.mlflow_registry import Registry; print(Registry({url!r}).champion())"


def log_run(registry: Registry, bundle: Path, attempt_id: int) -> str:
    with registry.start_run(attempt_id) as run:
        run.log_model(bundle)
    return run.mlflow_run_id


def client_of(registry: Registry) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(registry._tracking_uri, registry_uri=registry._tracking_uri)


def test_an_empty_registry_has_no_champion_and_no_versions(registry: Registry) -> None:
    assert registry.champion() is None
    assert registry.versions() == []
    assert registry.find_run(1) is None


def test_a_logged_model_is_registered_promoted_downloaded_and_answers(
    registry: Registry, bundle: Path, tmp_path: Path
) -> None:
    version = registry.register(log_run(registry, bundle, 1), {"verdict": "pending"})
    assert registry.champion() is None
    registry.set_champion(version)
    registry.tag_version(version, {"verdict": "promote"})
    (listed,) = registry.versions()
    assert (listed.version, listed.is_champion) == (1, True)
    assert listed.tags.keys() == {"verdict", "files_sha256"}
    assert listed.tags["verdict"] == "promote"
    assert registry.champion() == version
    folder = registry.download(version, tmp_path / "models")
    assert {file.name for file in folder.iterdir()} == {"model.onnx", "head.npz", "model.json", "SHA256SUMS"}
    images = np.zeros((2, 32, 32, 3), np.uint8)
    expected = Classifier.load(bundle).predict(images).probabilities
    np.testing.assert_array_equal(Classifier.load(folder).predict(images).probabilities, expected)


def test_a_run_becomes_one_version_however_often_it_is_registered(registry: Registry, bundle: Path) -> None:
    first, second = log_run(registry, bundle, 1), log_run(registry, bundle, 2)
    assert registry.register(first, {}) == 1
    assert registry.register(second, {}) == 2
    assert registry.register(first, {}) == 1
    assert [each.version for each in registry.versions()] == [2, 1]


def test_another_process_may_register_what_one_logged(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    mlflow_run_id = log_run(registry, bundle, 1)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/elsewhere.db")  # where a process that logged nothing looks
    assert registry.register(mlflow_run_id, {}) == 1


def test_a_version_is_downloaded_once(registry: Registry, bundle: Path, tmp_path: Path) -> None:
    version = registry.register(log_run(registry, bundle, 1), {})
    folder = registry.download(version, tmp_path)
    written = (folder / "model.onnx").stat().st_mtime_ns
    assert registry.download(version, tmp_path) == folder
    assert (folder / "model.onnx").stat().st_mtime_ns == written
    assert list(tmp_path.glob(".download-*")) == []


def test_only_a_finished_run_of_an_attempt_is_found(registry: Registry) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), registry.start_run(5) as failed:
        raise RuntimeError("on purpose")
    assert registry.find_run(5) is None
    with registry.start_run(5) as run:
        assert registry.find_run(5) is None
    assert registry.find_run(5) == run.mlflow_run_id
    assert registry.find_run(6) is None
    assert client_of(registry).get_run(failed.mlflow_run_id).info.status == "FAILED"


def test_a_run_that_a_killed_try_left_open_is_marked_as_failed(registry: Registry) -> None:
    left_open = registry.start_run(5)
    run_id = left_open.__enter__().mlflow_run_id
    with registry.start_run(5):
        assert client_of(registry).get_run(run_id).info.status == "FAILED"
    with registry.start_run(6) as other:
        assert client_of(registry).get_run(other.mlflow_run_id).info.status == "RUNNING"


def test_a_run_holds_what_people_look_for(registry: Registry, head: TrainedHead, tmp_path: Path) -> None:
    picture = tmp_path / "curves.png"
    picture.write_bytes(b"a picture")
    with registry.start_run(3) as run:
        run.log_parameters({"seed": 0, "snapshot_size": 1000})
        run.log_history(head.history)
        run.log_metrics({"validation_accuracy": 0.9})
        run.log_dataset(DatasetSummary("snapshot-7", "ab" * 32, {"images": 1000}), "training")
        run.log_report("report.json", {"per_class": {"0": {"f1": 0.5}}})
        run.log_picture(picture)
        run.tag({"backbone_weights": "random:0"})
    client = client_of(registry)
    stored = client.get_run(run.mlflow_run_id)
    assert stored.data.params == {"seed": "0", "snapshot_size": "1000"}
    assert stored.data.metrics["validation_accuracy"] == 0.9
    assert stored.data.tags["backbone_weights"] == "random:0"
    assert stored.data.tags["mycoflow.attempt_id"] == "3"
    curve = client.get_metric_history(run.mlflow_run_id, "val_loss")
    assert [(point.step, point.value) for point in curve] == list(enumerate(head.history["val_loss"]))
    (dataset,) = [given.dataset for given in stored.inputs.dataset_inputs]
    assert (dataset.name, dataset.digest) == ("snapshot-7", ("ab" * 32)[:36])
    assert {file.path for file in client.list_artifacts(run.mlflow_run_id)} == {"plots", "report.json"}


def test_unknown_versions_and_runs_without_a_model_are_refused(registry: Registry, tmp_path: Path) -> None:
    with registry.start_run(1) as run:
        pass
    with pytest.raises(UnknownVersionError, match="Train again"):
        registry.register(run.mlflow_run_id, {})
    for use in (registry.set_champion, lambda v: registry.tag_version(v, {}), lambda v: registry.download(v, tmp_path)):
        with pytest.raises(UnknownVersionError, match="mycoflow models"):
            use(9)


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "postgresql+psycopg2://someone:secret@127.0.0.1:9/mlflow"], ids=["server", "database"]
)
def test_a_dead_mlflow_is_told_within_seconds_and_without_the_password(uri: str) -> None:
    started = time.monotonic()
    with pytest.raises(RegistryUnavailableError, match="MLFLOW_TRACKING_URI") as refused:
        Registry(uri).champion()
    assert time.monotonic() - started < 60  # by itself, MLflow tries for minutes
    assert "secret" not in str(refused.value)


def test_an_mlflow_that_hangs_up_is_told_without_the_password(serve_script: Callable[..., int]) -> None:
    port = serve_script(lambda _path, connection: connection.close())
    with pytest.raises(RegistryUnavailableError, match="Expected MLflow to answer") as refused:
        Registry(f"http://someone:secret@127.0.0.1:{port}/").champion()
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_mlflow_is_told() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(RegistryUnavailableError, match="Expected MLflow to answer"):
                Registry(f"http://127.0.0.1:{server.server_port}").champion()
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def two_versions(registry: Registry, bundle: Path) -> list[str]:
    """Versions 1 and 2, each of a training run of ours; gives the ids of their runs."""
    run_ids = [log_run(registry, bundle, attempt_id) for attempt_id in (1, 2)]
    for attempt_id, run_id in enumerate(run_ids, start=1):
        registry.register(run_id, {"attempt_id": str(attempt_id)})
    return run_ids


@pytest.mark.usefixtures("two_versions")
def test_files_of_versions_that_we_trained_can_be_deleted(registry: Registry, tmp_path: Path) -> None:
    own = registry.own_files([1])
    assert list(own) == [1]
    assert registry.byte_count(own[1]) > 0
    registry.delete_files(own[1])
    assert registry.byte_count(own[1]) == 0
    with pytest.raises(ModelLoadError, match="train again"):
        registry.download(1, tmp_path)
    registry.download(2, tmp_path)


def copy_into(registry: Registry, model_name: str) -> None:
    client_of(registry).copy_model_version("models:/mycoflow/1", model_name)


def register_again(registry: Registry, source: str) -> None:
    client = client_of(registry)
    run = client.get_run(registry.versions()[-1].mlflow_run_id)
    names = {"run_id": run.info.run_id, "model_id": run.outputs.model_outputs[0].model_id}
    client.create_model_version("mycoflow", source.format(**names))


SHARERS: dict[str, Callable[[Registry], None]] = {
    "a copy": lambda registry: copy_into(registry, "mycoflow"),
    "a copy in another registered model": lambda registry: copy_into(registry, "somebody-elses"),
    "the same logged model": lambda registry: register_again(registry, "models:/{model_id}"),
    "the same run by its address": lambda registry: register_again(registry, "runs:/{run_id}/model"),
}


@pytest.mark.usefixtures("two_versions")
@pytest.mark.parametrize("share", SHARERS.values(), ids=SHARERS)
def test_files_that_another_version_is_made_of_are_nobodys_own(
    registry: Registry, share: Callable[[Registry], None]
) -> None:
    share(registry)
    assert list(registry.own_files([1, 2])) == [2]


@pytest.mark.usefixtures("two_versions")
def test_versions_in_question_may_share_their_files(registry: Registry) -> None:
    copy_into(registry, "mycoflow")
    own = registry.own_files([1, 3])
    assert list(own) == [3, 1]
    assert own[1] == own[3]


def test_the_files_of_somebodys_own_run_are_not_ours(registry: Registry, bundle: Path) -> None:
    with registry.run("my-experiments", "try", {}) as run:
        run.log_model(bundle)
    assert registry.own_files([registry.register(run.mlflow_run_id, {"verdict": "pending"})]) == {}


def test_processes_that_open_an_empty_database_together_all_succeed(new_database: Callable[[], str]) -> None:
    code = OPEN_REGISTRY.format(url=new_database())
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = [process.communicate(timeout=120) for process in processes]
    assert printed == [("None\n", "")] * 3


def test_the_same_works_over_an_mlflow_server(
    mlflow_server: str, bundle: Path, head: TrainedHead, tmp_path: Path
) -> None:
    registry = Registry(mlflow_server)
    with registry.start_run(1) as run:
        run.log_history(head.history)
        run.log_model(bundle)
    version = registry.register(run.mlflow_run_id, {"verdict": "pending"})
    registry.set_champion(version)
    assert registry.champion() == version
    assert registry.find_run(1) == run.mlflow_run_id
    assert Classifier.load(registry.download(version, tmp_path / "models")).card.image_size == 32
    with pytest.raises(UnknownVersionError):
        registry.set_champion(9)
