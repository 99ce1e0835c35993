import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.registry.mlflow_registry import Registry
from ml.tasks.classification.classifier import Classifier

PREDICT_ANYWHERE = """
import sys, warnings
import mlflow.pyfunc, numpy as np
warnings.simplefilter("error", UserWarning)
model = mlflow.pyfunc.load_model({path!r})
answer = model.predict(np.load({images!r}))
np.savez({answer!r}, **answer)
print(sorted(answer), "ml" in sys.modules, model.metadata.metadata["classes"])
"""


@pytest.fixture
def model_folder(registry: Registry, bundle: Path, tmp_path: Path) -> Path:
    """What MLflow keeps of a registered version, fetched as any MLflow client would."""
    with registry.start_run(1) as run:
        run.log_model(bundle)
    version = registry.register(run.mlflow_run_id, {})
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(f"models:/mycoflow/{version}", dst_path=str(tmp_path / "fetched")))


def test_any_mlflow_client_gets_our_answers_without_our_code(
    model_folder: Path, bundle: Path, unseen: Any, tmp_path: Path, run_python: Callable[..., str]
) -> None:
    images, answer = tmp_path / "images.npy", tmp_path / "answer.npz"
    np.save(images, unseen.images[:4])
    code = PREDICT_ANYWHERE.format(path=str(model_folder), images=str(images), answer=str(answer))
    assert run_python(code, tmp_path) == f"['features', 'probabilities'] False {list('0123456789')}"
    expected = Classifier.load(bundle).predict(unseen.images[:4])
    np.testing.assert_allclose(np.load(answer)["probabilities"], expected.probabilities, atol=1e-6)


def test_a_version_says_what_it_needs_and_shows_an_example(model_folder: Path) -> None:
    requirements = (model_folder / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in requirements] == ["mlflow", "numpy", "onnxruntime"]
    assert all("==" in line for line in requirements)
    assert np.array(json.loads((model_folder / "input_example.json").read_text())).shape == (1, 32, 32, 3)


def test_mlflow_models_serve_answers_like_the_classifier(
    model_folder: Path, bundle: Path, unseen: Any, tmp_path: Path
) -> None:
    images = unseen.images[:2]
    with _serve(model_folder, tmp_path) as address:
        body = json.dumps({"inputs": images.tolist()}).encode()
        request = urllib.request.Request(f"{address}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)["predictions"]
    expected = Classifier.load(bundle).predict(images)
    np.testing.assert_allclose(answer["probabilities"], expected.probabilities, atol=1e-5)


@contextmanager
def _serve(model_folder: Path, folder: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model_folder), "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it starts uvicorn by name
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/ping", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait_until_ready(address: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=20).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise TimeoutError(f"mlflow models serve did not answer at {address}")
