"""What a swap, and a version that does not load, leave in the metrics."""

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ml.serving.model_host import ModelHost
from ml.serving.serving_cache import ServingCache
from ml.tasks.classification.classification_task import TASK
from webapi.telemetry.model_metrics import ModelCollector


class OneBundle:
    """Stands for MLflow: version 1 is in production, and here already."""

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle

    def champion(self) -> int:
        return 1

    def download(self, version: int, folder: Path) -> Path:
        return self.bundle

    def demand_run(self, version: int, mlflow_run_id: str) -> None:
        """Accept any run."""


@pytest.fixture
def bundle(tmp_path: Path, write_bundle: Callable[[Path, int], Path]) -> Path:
    return write_bundle(tmp_path / "serving" / "1-run", 1)


@pytest.fixture
def host(tmp_path: Path, bundle: Path) -> ModelHost:
    return ModelHost(
        ServingCache(tmp_path / "serving"), lambda: OneBundle(bundle), 60, lambda _state: None, TASK, lambda _: None
    )


@pytest.fixture
def read(host: ModelHost) -> Callable[[str], float | None]:
    registry = CollectorRegistry()
    registry.register(ModelCollector(host))
    return registry.get_sample_value


def test_before_the_first_model_the_served_version_is_none(read: Callable[[str], float | None]) -> None:
    assert read("mycoflow_served_version") == 0
    assert read("mycoflow_model_swaps_total") == 0
    assert read("mycoflow_model_load_failures_total") == 0


def test_the_model_that_answers_is_named_and_its_loading_timed(
    host: ModelHost, read: Callable[[str], float | None]
) -> None:
    host.poll()
    load_seconds, swap_seconds = read("mycoflow_model_load_seconds"), read("mycoflow_model_swap_seconds")
    assert read("mycoflow_served_version") == 1
    assert load_seconds is not None
    assert swap_seconds is not None
    assert 0 < load_seconds < swap_seconds < 60


def test_a_version_that_does_not_load_is_counted(
    host: ModelHost, bundle: Path, read: Callable[[str], float | None]
) -> None:
    (bundle / "model.onnx").write_bytes(b"damaged")
    host.poll()
    assert read("mycoflow_model_load_failures_total") == 1
    assert read("mycoflow_served_version") == 0
