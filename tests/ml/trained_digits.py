"""A small trained model on the handwritten digits: random backbone at 32x32, built once for all the tests here."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from ml.backbones.base import BackboneWeights
from ml.backbones.int8.quantisation import quantise_backbone
from ml.backbones.onnx_runtime import OnnxBackbone, backbone_id
from ml.backbones.served_backbone import ServedBackbone
from ml.backbones.vgg16.onnx_export import export_backbone
from ml.backbones.vgg16.vgg16_backbone import BACKBONE
from ml.backbones.vgg16.weights import resolve_weights
from ml.deadlines import Deadline
from ml.ingest.digits import write_digits
from ml.registry.mlflow_registry import Registry
from ml.tasks.card import ModelCard
from ml.tasks.classification.answer_confidence import AnswerConfidence
from ml.tasks.classification.bundle import make_card, write_bundle
from ml.tasks.classification.fitting.head_training import TrainedHead, train_head

CLASSES = tuple("0123456789")
IMAGE_SIZE = 32
IMAGE_COUNT = 600
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Digits:
    """Digits: images (n, 32, 32, 3), labels (n,), and the random backbone's features (n, 512)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    features: NDArray[np.float32]

    def part(self, start: int, end: int) -> "Digits":
        return Digits(self.images[start:end], self.labels[start:end], self.features[start:end])


UNCALIBRATED = AnswerConfidence.unknown(0, len(CLASSES))


@pytest.fixture(scope="session")
def weights() -> BackboneWeights:
    return resolve_weights("random")


@pytest.fixture(scope="session")
def backbone_onnx(weights: BackboneWeights) -> bytes:
    return export_backbone(weights, IMAGE_SIZE)


@pytest.fixture(scope="session")
def digit_images(backbone_onnx: bytes) -> Digits:
    sample = load_digits()
    grey = [Image.fromarray((each * 255 / 16).astype(np.uint8)) for each in sample.images[:IMAGE_COUNT]]
    images = np.stack([np.asarray(each.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE))) for each in grey])
    return Digits(images, sample.target[:IMAGE_COUNT].astype(np.int64), OnnxBackbone(backbone_onnx).features(images))


@pytest.fixture(scope="session")
def training_fold(digit_images: Digits) -> Digits:
    return digit_images.part(0, 300)


@pytest.fixture(scope="session")
def validation_fold(digit_images: Digits) -> Digits:
    return digit_images.part(300, 400)


@pytest.fixture(scope="session")
def unseen(digit_images: Digits) -> Digits:
    return digit_images.part(400, 600)


@pytest.fixture(scope="session")
def train(training_fold: Digits, validation_fold: Digits) -> Callable[..., TrainedHead]:
    """`train_head` on the digits; any argument may be replaced by its name."""

    def train_on_digits(**replaced: object) -> TrainedHead:
        arguments = {
            "features": training_fold.features,
            "labels": training_fold.labels,
            "validation_features": validation_fold.features,
            "validation_labels": validation_fold.labels,
            "class_count": len(CLASSES),
            "seed": 0,
            "deadline": Deadline(120.0),
        }
        return train_head(**{**arguments, **replaced})  # type: ignore[arg-type]

    return train_on_digits


@pytest.fixture(scope="session")
def head(train: Callable[..., TrainedHead]) -> TrainedHead:
    return train()


@pytest.fixture(scope="session")
def backbone(backbone_onnx: bytes) -> ServedBackbone:
    """The fp32 backbone, as everybody uses it."""
    return ServedBackbone(
        "vgg16", backbone_onnx, backbone_id(backbone_onnx), backbone_onnx, "random:0", "fp32", IMAGE_SIZE
    )


@pytest.fixture(scope="session")
def int8_backbone(backbone: ServedBackbone, training_fold: Digits) -> ServedBackbone:
    """The same quantised on 16 digits."""
    onnx = quantise_backbone(backbone.fp32_onnx, training_fold.images[:16], BACKBONE.kept_in_fp32, reduce_range=False)
    return replace(backbone, onnx=onnx, backbone_id=backbone_id(onnx), precision="int8")


@pytest.fixture(scope="session")
def card(backbone: ServedBackbone) -> ModelCard:
    return make_card(backbone, CLASSES, UNCALIBRATED)


@pytest.fixture(scope="session")
def bundle(
    tmp_path_factory: pytest.TempPathFactory,
    backbone: ServedBackbone,
    head: TrainedHead,
    card: ModelCard,
    digit_images: Digits,
) -> Path:
    """A model version's files. Shared: copy it before changing it."""
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, backbone, head, card, digit_images.images[:8])
    return folder


@pytest.fixture
def registry(mlflow_uri: str, tmp_path: Path) -> Registry:
    """A registry that holds nothing."""
    return Registry(mlflow_uri, (tmp_path / "artifacts").as_uri())


@pytest.fixture
def mlflow_server(mlflow_uri: str, tmp_path: Path) -> Iterator[str]:
    """The address of a real MLflow server that keeps the artifacts itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    store = ["--backend-store-uri", mlflow_uri, "--artifacts-destination", str(tmp_path / "served")]
    command = [sys.executable, "-m", "mlflow", "server", *store, "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen([*command, "--workers", "1"], env=environment, stdout=log, stderr=log)
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


def _wait_until_healthy(address: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=20).close()
            return
        except OSError:
            time.sleep(0.3)
    raise TimeoutError(f"the MLflow server did not answer at {address}")


@pytest.fixture(scope="session")
def small_digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of zeros and ones: 20 each to evaluate with, 30 each for the pool."""
    written, taken = write_digits(tmp_path_factory.mktemp("digits")), tmp_path_factory.mktemp("small")
    for source, count in ((written.evaluation, 20), (written.first, 30)):
        for digit in ("0", "1"):
            (taken / source.name / digit).mkdir(parents=True)
            for file in sorted((source / digit).iterdir())[:count]:
                shutil.copy(file, taken / source.name / digit)
    return taken / written.evaluation.name, taken / written.first.name


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    """Runs Python code in a process of its own and gives what it prints."""

    def run(code: str, folder: Path = ROOT) -> str:
        environment = {**os.environ, "PYTHONPATH": "", "PYTHONWARNINGS": ""}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
