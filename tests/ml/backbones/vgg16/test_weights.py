import hashlib
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from ml.backbones.base import BackboneWeights
from ml.backbones.keras_backend import build_network
from ml.backbones.vgg16 import weights as weights_module
from ml.backbones.vgg16.architecture import kernel_shapes, layer_names
from ml.backbones.vgg16.vgg16_backbone import BACKBONE
from ml.backbones.vgg16.weights import (
    BUNDLED_FILE,
    BUNDLED_SHA256,
    PUBLISHED_NAME,
    choose_weights,
    resolve_weights,
)
from ml.errors import WeightsError


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, weights: BackboneWeights) -> Path:
    """A file in the layout of the published one, for BGR, with the random weights."""
    path = tmp_path_factory.mktemp("published") / PUBLISHED_NAME
    with h5py.File(path, "w") as file:
        for name in layer_names():
            kernel, bias = weights.arrays[f"{name}/kernel"], weights.arrays[f"{name}/bias"]
            group = file.create_group(name)
            group[f"{name}_W_1:0"] = kernel[:, :, ::-1] if kernel.shape[2] == 3 else kernel
            group[f"{name}_b_1:0"] = bias
    return path


@pytest.fixture
def base_url(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(weights_module, "PUBLISHED_MD5", hashlib.md5(published.read_bytes()).hexdigest())
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(published.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def is_equal(one: BackboneWeights, other: BackboneWeights) -> bool:
    return one.arrays.keys() == other.arrays.keys() and all(
        np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items()
    )


def test_random_weights_are_the_same_every_time_and_he_normal() -> None:
    first, second = resolve_weights("random"), resolve_weights("random")
    assert first.recipe == "random:0"
    assert is_equal(first, second)
    assert [first.arrays[f"{name}/kernel"].shape for name in layer_names()] == kernel_shapes()
    assert first.arrays["block4_conv1/kernel"].std() == pytest.approx(np.sqrt(2 / (9 * 256)), rel=0.01)


def test_random_weights_need_no_tensorflow(run_python: Callable[..., str]) -> None:
    code = "import sys; from ml.backbones.vgg16.weights import resolve_weights; resolve_weights('random')"
    assert run_python(f"{code}; print('tensorflow' in sys.modules, 'keras' in sys.modules)") == "False False"


def test_the_published_file_is_downloaded_once_and_turned_from_bgr_to_rgb(
    base_url: str, published: Path, tmp_path: Path, weights: BackboneWeights
) -> None:
    cache = tmp_path / "models"
    downloaded = resolve_weights("imagenet", base_url, cache)
    assert downloaded.recipe == f"imagenet:{hashlib.sha256(published.read_bytes()).hexdigest()}"
    assert is_equal(downloaded, weights)
    assert is_equal(resolve_weights("imagenet", "http://127.0.0.1:9/", cache), weights)


def test_a_download_with_the_wrong_checksum_is_refused(
    base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_module, "PUBLISHED_MD5", "0" * 32)
    with pytest.raises(WeightsError, match="MYCOFLOW_WEIGHTS="):
        resolve_weights("imagenet", base_url, tmp_path)


def test_an_unreachable_source_says_how_to_provide_the_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as refused:
        resolve_weights("imagenet", "http://127.0.0.1:9/", tmp_path / "models")
    assert f"at {tmp_path / 'models' / PUBLISHED_NAME}" in str(refused.value)
    assert "MYCOFLOW_WEIGHTS=/path/to/file.weights.h5" in str(refused.value)


def test_a_file_saved_by_keras_is_read_back(tmp_path: Path, weights: BackboneWeights) -> None:
    path = tmp_path / "mine.weights.h5"
    build_network(BACKBONE, weights, 32).save_weights(path)
    found = resolve_weights(str(path))
    assert found.recipe == f"file:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    turned = weights.arrays["block1_conv1/kernel"][:, :, ::-1]
    assert is_equal(found, BackboneWeights(found.recipe, {**weights.arrays, "block1_conv1/kernel": turned}))


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        resolve_weights(str(tmp_path / "none.weights.h5"))


def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.weights.h5"
    path.write_text("no weights")
    with pytest.raises(WeightsError, match="cannot be opened"):
        resolve_weights(str(path))


def test_weights_of_another_network_are_refused(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.weights.h5"
    path.write_bytes(published.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["block5_conv3"]
    with pytest.raises(WeightsError, match="Received 12"):
        resolve_weights(str(path))


def test_weights_that_are_not_numbers_are_refused(published: Path, tmp_path: Path) -> None:
    path = tmp_path / "nan.weights.h5"
    path.write_bytes(published.read_bytes())
    with h5py.File(path, "r+") as file:
        file["block1_conv1/block1_conv1_b_1:0"][3] = np.nan
    with pytest.raises(WeightsError, match="NaN"):
        resolve_weights(str(path))


def test_the_bundled_weights_are_those_of_the_card() -> None:
    bundled = resolve_weights("bundled")
    card = (BUNDLED_FILE.parent / "MODEL_CARD.md").read_text()
    assert bundled.recipe == f"bundled:{BUNDLED_SHA256}"
    assert BUNDLED_SHA256 in card
    assert f"{BUNDLED_FILE.stat().st_size:,} bytes" in card


def test_bundled_weights_that_are_damaged_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "damaged.weights.h5"
    content = bytearray(BUNDLED_FILE.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(weights_module, "BUNDLED_FILE", damaged)
    with pytest.raises(WeightsError, match="Install Mycoflow again"):
        resolve_weights("bundled")


def test_imagenet_is_chosen_if_its_file_is_available(base_url: str, tmp_path: Path) -> None:
    assert choose_weights(base_url, tmp_path / "models")[0] == "imagenet"
    assert choose_weights("http://127.0.0.1:9/", tmp_path / "models")[0] == "imagenet"  # from the cache now


def test_the_bundled_weights_are_chosen_if_imagenet_is_not_available(tmp_path: Path) -> None:
    value, reason = choose_weights("http://127.0.0.1:9/", tmp_path / "models")
    assert value == "bundled"
    assert str(tmp_path / "models" / PUBLISHED_NAME) in reason


def test_a_host_that_does_not_answer_costs_only_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_module, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        value, reason = choose_weights(f"http://127.0.0.1:{silent.getsockname()[1]}/", tmp_path / "models")
    assert value == "bundled"
    assert "timed out" in reason
