"""Run a backbone or a whole model version with ONNX Runtime. Imports no TensorFlow, no MLflow and no onnx."""

import hashlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ml.backbones.cpus import usable_cpus
from ml.backbones.onnx_files import ACTIVATIONS_NAME
from ml.backbones.preprocessing import INPUT_CHANNELS, PREPROCESSING_VERSION
from ml.errors import ModelLoadError

logger = logging.getLogger(__name__)

BATCH_SIZE = 8  # a batch of 32 is 6 % faster, and needs 160 MB more memory in int8, 700 MB more in fp32, at 160 pixels

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


class OnnxBackbone:
    """A backbone that is ready to run.

    Args: onnx, the path or the bytes of a backbone's ONNX file.
    Raises: ModelLoadError, the file is no backbone.
    """

    def __init__(self, onnx: Path | bytes) -> None:
        content = onnx if isinstance(onnx, bytes) else read_file(onnx)
        self._session = open_session(content, "the backbone", usable_cpus())
        self.feature_count = _count_features(self._session)
        self.image_size = input_size(self._session)
        self.backbone_id = backbone_id(content)

    def features(self, images: Images) -> Floats:
        """Compute the features of images. Safe to call from several threads.

        Args: images, uint8 RGB, (n, image_size, image_size, 3).
        Returns: float32, (n, feature_count).
        Raises: ValueError, wrong shape or dtype.
        """
        check_images(images, self.image_size)
        (features,) = run_in_batches(self._session, ["features"], images)
        return features


def backbone_id(backbone_onnx: bytes) -> str:
    """Return a backbone's id: the hash of its bytes and the version of the preprocessing."""
    return f"{hashlib.sha256(backbone_onnx).hexdigest()}:{PREPROCESSING_VERSION}"


class Turns:
    """Two sessions of one network: one uses all CPUs and serves a caller who is alone; the other uses one CPU.

    A single request is fastest on all CPUs. Parallel requests get the highest throughput with one CPU each, because
    no thread waits for another.
    """

    def __init__(self, content: bytes, what: str) -> None:
        self.alone = open_session(content, what, usable_cpus())
        self.meanwhile = open_session(content, what, threads=1)
        self._lock = threading.Lock()
        self._running = 0

    @contextmanager
    def take(self) -> Iterator[onnxruntime.InferenceSession]:
        """Lend the session that suits the current number of callers."""
        with self._lock:
            session = self.meanwhile if self._running else self.alone
            self._running += 1
        try:
            yield session
        finally:
            with self._lock:
                self._running -= 1


def open_session(content: bytes, what: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would take CPU time from the web server and from training.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no narrower base
        raise ModelLoadError(
            f"Expected an ONNX file that ONNX Runtime loads for {what}. Received {len(content)} bytes: {error}. "
            "Download or export it again."
        ) from error


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelLoadError(
            f"Expected an ONNX file at {path}. It cannot be read ({error}). Download the model version again."
        ) from error


def check_outputs(session: onnxruntime.InferenceSession, expected: dict[str, int]) -> None:
    """Refuse a network with other outputs. Args: expected, values per image by name; `activations` may be there too.

    Raises: ModelLoadError.
    """
    outputs = {name: size for name, size in _output_sizes(session).items() if name != ACTIVATIONS_NAME}
    if outputs != expected:
        raise ModelLoadError(
            f"Expected a network with the outputs {expected} (name: values per image). Received: {outputs}. "
            "Register a model that Mycoflow exported."
        )


def _count_features(session: onnxruntime.InferenceSession) -> int:
    outputs = _output_sizes(session)
    count = outputs.get("features")
    if list(outputs) != ["features"] or not isinstance(count, int):
        raise ModelLoadError(
            "Expected a backbone with one output, `features`, with a fixed number of values per image. "
            f"Received the outputs {outputs} (name: values per image). Export the backbone again."
        )
    return count


def output_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a network's answer for one image, by the outputs' names. Args: path, of an ONNX file.

    `activations` are no part of the answer.
    """
    session = open_session(read_file(path), str(path), threads=1)
    outputs = {output.name: tuple(output.shape[1:]) for output in session.get_outputs()}
    return {name: shape for name, shape in outputs.items() if name != ACTIVATIONS_NAME}


def _output_sizes(session: onnxruntime.InferenceSession) -> dict[str, Any]:
    """Map each output's name to its values per image; not an int where the file leaves the size open."""
    return {output.name: output.shape[-1] for output in session.get_outputs()}


def input_size(session: onnxruntime.InferenceSession) -> int:
    inputs = [(value.name, value.type, value.shape[1:]) for value in session.get_inputs()]
    size = inputs[0][2][0] if inputs and inputs[0][2] else None
    if inputs != [("images", "tensor(uint8)", [size, size, INPUT_CHANNELS])] or not isinstance(size, int):
        raise ModelLoadError(
            f"Expected one input `images`, uint8 (batch, size, size, 3). Received: {inputs}. "
            "Register a model that Mycoflow exported."
        )
    return size


def check_images(images: Images, image_size: int) -> None:
    expected = (image_size, image_size, INPUT_CHANNELS)
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise ValueError(
            f"Expected uint8 images of shape (n, {image_size}, {image_size}, {INPUT_CHANNELS}). "
            f"Received: {images.dtype} {images.shape}"
        )


def run_in_batches(session: onnxruntime.InferenceSession, names: list[str], images: Images) -> list[Floats]:
    batches: list[Any] = [
        session.run(names, {"images": images[start : start + BATCH_SIZE]})
        for start in range(0, max(len(images), 1), BATCH_SIZE)
    ]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]
