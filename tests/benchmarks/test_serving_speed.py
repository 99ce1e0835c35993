"""A short load test of the service with the clients of the benchmarks: real gunicorn, PostgreSQL and VGG16."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.client import Plan, Route, post
from benchmarks.dataset import fresh_images
from benchmarks.deployment import Deployment, plain_environment
from benchmarks.serving_speed import as_upload, measure_serving, running_service, served_bundle
from ml.backbones.onnx_runtime import backbone_id
from ml.backbones.vgg16.architecture import FEATURE_COUNT
from ml.backbones.vgg16.onnx_export import export_backbone
from ml.backbones.vgg16.weights import resolve_weights
from ml.errors import MycoflowError
from ml.settings import Settings
from ml.tasks.card import ModelCard, save_card
from ml.tasks.classification.head import Head, save_head
from ml.tasks.classification.onnx_head import join_head
from stack.ports import find_free_ports

CLASSES = ("amanita", "boletus")


@pytest.fixture
def deployment(settings: Settings) -> Deployment:
    """A home with a model that an earlier run of the service downloaded; MLflow is down."""
    bundle = settings.mycoflow_home / "serving" / "1-run"
    bundle.mkdir(parents=True)
    (bundle.parent / "current").write_text("1-run\n")
    backbone = export_backbone(resolve_weights("random"), settings.image_size)
    kernel = np.random.default_rng(0).normal(size=(FEATURE_COUNT, len(CLASSES))).astype(np.float32)
    head = Head(kernel, np.zeros(len(CLASSES), np.float32))
    (bundle / "model.onnx").write_bytes(join_head(backbone, head))
    save_head(head, bundle / "head.npz")
    facts = (settings.image_size, backbone_id(backbone), "random:0", "vgg16", "classification")
    save_card(ModelCard(CLASSES, *facts, files=("model.onnx", "head.npz")), bundle)
    assert settings.database_url is not None
    own = {
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{find_free_ports(1)[0]}",
        "MYCOFLOW_METRICS_PORT": "0",
        "MYCOFLOW_RATE_LIMIT": "1000000 per minute",
    }
    return Deployment(settings.mycoflow_home, plain_environment() | own)


def test_serving_is_measured_with_both_kinds_of_credentials_and_both_kinds_of_images(
    deployment: Deployment, photos: Path
) -> None:
    figures = measure_serving(deployment, fresh_images(photos), Plan(rounds=1, seconds=0.3, clients=(1, 2)), repeats=1)
    for name in ("serve", "serve_basic", "cached", "cached_basic"):
        for clients in (1, 2):
            assert {f"{name}_{metric}_{clients}" for metric in ("rps", "p50_ms", "p95_ms")} <= figures.keys()
    assert all(value > 0 for value in figures.values())
    assert {"serve_rss_mb", "serve_start_seconds"} <= figures.keys()


def test_an_answer_with_an_error_ends_the_measurement(deployment: Deployment, photos: Path) -> None:
    with running_service(deployment) as service:
        stranger = Route(service.address, "/predictions", {"Content-Type": "multipart/form-data; boundary=none"})
        with pytest.raises(MycoflowError, match="Expected the status 200"):
            post(stranger, as_upload(next(fresh_images(photos))))
    assert served_bundle(deployment).name == "1-run"
    assert not service.process.is_running()


def test_a_command_that_fails_says_why(deployment: Deployment) -> None:
    with pytest.raises(MycoflowError, match="no-such-folder"):
        deployment.run("ingest", "no-such-folder", "--split", "pool")
