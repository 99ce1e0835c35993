"""Run a trunk or a whole model version with ONNX Runtime. Imports no TensorFlow, no MLflow and no onnx."""

import hashlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ml.errors import ModelLoadError
from ml.model.architecture import FEATURE_COUNT, INPUT_CHANNELS
from ml.model.card import ModelCard, load_card
from ml.model.cpus import int8_saturates, usable_cpus
from ml.model.head import Head, load_head
from ml.model.preprocessing import PREPROCESSING_VERSION

logger = logging.getLogger(__name__)

BATCH_SIZE = 8  # 32 are 6 % quicker and take 160 MB more in int8, 700 MB in fp32, at 160 pixels
_OUTPUTS = ["probabilities", "features"]
ANSWER_TOLERANCE = 1e-4  # between the graph's own head and head.npz: float32 summed in another order

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Output:
    """What a model says of n images.

    Args:
        probabilities: float32, (n, classes).
        features: float32, (n, 512).
    """

    probabilities: Floats
    features: Floats


class Trunk:
    """VGG16's convolutions, ready to run.

    Args: onnx, the path or the bytes of a trunk's ONNX file.
    Raises: ModelLoadError, it is not one.
    """

    def __init__(self, onnx: Path | bytes) -> None:
        content = onnx if isinstance(onnx, bytes) else _read(onnx)
        self._session = _open_session(content, "the trunk", usable_cpus())
        _check_outputs(self._session, {"features": FEATURE_COUNT})
        self.image_size = _input_size(self._session)
        self.trunk_id = trunk_id(content)

    def features(self, images: Images) -> Floats:
        """Compute the features of images. Safe to call from several threads.

        Args: images, uint8 RGB, (n, image_size, image_size, 3).
        Returns: float32, (n, 512).
        Raises: ValueError, wrong shape or dtype.
        """
        _check_images(images, self.image_size)
        (features,) = _run_in_batches(self._session, ["features"], images)
        return features


class _Turns:
    """Two sessions of one network. Whoever comes alone gets all CPUs, whoever comes meanwhile one CPU.

    All CPUs give one image its quickest answer. One each give the most answers, since no thread waits for another.
    """

    def __init__(self, content: bytes, what: str) -> None:
        self.alone = _open_session(content, what, usable_cpus())
        self.meanwhile = _open_session(content, what, threads=1)
        self._lock = threading.Lock()
        self._running = 0

    @contextmanager
    def take(self) -> Iterator[onnxruntime.InferenceSession]:
        """A session, for the length of the block."""
        with self._lock:
            session = self.meanwhile if self._running else self.alone
            self._running += 1
        try:
            yield session
        finally:
            with self._lock:
                self._running -= 1


class Classifier:
    """A model version, ready to serve. Make one with `Classifier.load`."""

    def __init__(self, card: ModelCard, turns: _Turns, head: Head) -> None:
        self.card = card
        self._turns = turns
        self._head = head

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Load a bundle and let it answer once, so that what loads also serves.

        Args: folder, holding model.onnx, head.npz and model.json.
        Raises: ModelLoadError, a file is missing, damaged, or does not fit the others.
        """
        card = load_card(folder)
        content = _read(folder / "model.onnx")
        _check_bytes(content, card, folder)
        turns = _Turns(content, str(folder / "model.onnx"))
        _check_outputs(turns.alone, {"probabilities": len(card.classes), "features": FEATURE_COUNT})
        if (size := _input_size(turns.alone)) != card.image_size:
            raise ModelLoadError(
                f"Expected a network for {card.image_size} pixels in {folder}, as its card says. Received: {size}. "
                "Download the model version again."
            )
        classifier = cls(card, turns, load_head(folder / "head.npz", len(card.classes)))
        classifier._check_answer(folder)
        return classifier

    def predict(self, images: Images) -> Output:
        """Classify images. Safe to call from several threads.

        Args: images, uint8 RGB, (n, image_size, image_size, 3), as `ml.model.preprocessing.to_pixels` makes them.
        Raises: ValueError, wrong shape or dtype.
        """
        _check_images(images, self.card.image_size)
        with self._turns.take() as session:
            return Output(*_run_in_batches(session, _OUTPUTS, images))

    def classify(self, features: Floats) -> Floats:
        """Classify images whose features are known already.

        Args: features, float32, (n, 512).
        Returns: probabilities, float32, (n, classes).
        """
        return self._head.classify(features)

    def _check_answer(self, folder: Path) -> None:
        size = self.card.image_size
        image = np.full((1, size, size, INPUT_CHANNELS), 127, np.uint8)
        outputs = [
            Output(*_run_in_batches(session, _OUTPUTS, image)) for session in (self._turns.alone, self._turns.meanwhile)
        ]
        difference = max(np.abs(each.probabilities - self.classify(each.features)).max() for each in outputs)
        if not difference <= ANSWER_TOLERANCE:
            raise ModelLoadError(
                f"Expected model.onnx and head.npz in {folder} to agree within {ANSWER_TOLERANCE}. "
                f"Received: probabilities {difference} apart. Download the model version again."
            )


def trunk_id(trunk_onnx: bytes) -> str:
    """Name a trunk by its bytes and by the preprocessing in front of it."""
    return f"{hashlib.sha256(trunk_onnx).hexdigest()}:{PREPROCESSING_VERSION}"


def _open_session(content: bytes, what: str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin between requests would take the CPUs from the web server and from training.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no narrower base
        raise ModelLoadError(
            f"Expected an ONNX file that ONNX Runtime loads for {what}. Received {len(content)} bytes: {error}. "
            "Download or export it again."
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelLoadError(
            f"Expected an ONNX file at {path}. It cannot be read ({error}). Download the model version again."
        ) from error


def _check_bytes(content: bytes, card: ModelCard, folder: Path) -> None:
    received = hashlib.sha256(content).hexdigest()
    if card.model_sha256 not in (None, received):
        raise ModelLoadError(
            f"Expected model.onnx in {folder} to have the SHA-256 {card.model_sha256}, as its card says. "
            f"Received: {received}. Download the model version again."
        )
    if card.precision == "int8" and not card.reduce_range and int8_saturates():
        logger.warning(
            "The model in %s has full-range int8 weights, and this CPU lacks VNNI: some answers may differ from those "
            "it was judged by. Retrain on this machine, or with MYCOFLOW_MODEL_PRECISION=fp32.",
            folder,
        )


def _check_outputs(session: onnxruntime.InferenceSession, expected: dict[str, int]) -> None:
    found = {output.name: output.shape[-1] for output in session.get_outputs()}
    if found != expected:
        raise ModelLoadError(
            f"Expected a network with the outputs {expected} (name: values per image). Received: {found}. "
            "Register a model that Mycoflow exported."
        )


def _input_size(session: onnxruntime.InferenceSession) -> int:
    inputs = [(value.name, value.type, value.shape[1:]) for value in session.get_inputs()]
    size = inputs[0][2][0] if inputs and inputs[0][2] else None
    if inputs != [("images", "tensor(uint8)", [size, size, INPUT_CHANNELS])] or not isinstance(size, int):
        raise ModelLoadError(
            f"Expected one input `images`, uint8 (batch, size, size, 3). Received: {inputs}. "
            "Register a model that Mycoflow exported."
        )
    return size


def _check_images(images: Images, image_size: int) -> None:
    expected = (image_size, image_size, INPUT_CHANNELS)
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise ValueError(
            f"Expected uint8 images of shape (n, {image_size}, {image_size}, {INPUT_CHANNELS}). "
            f"Received: {images.dtype} {images.shape}"
        )


def _run_in_batches(session: onnxruntime.InferenceSession, names: list[str], images: Images) -> list[Floats]:
    batches: list[Any] = [
        session.run(names, {"images": images[start : start + BATCH_SIZE]})
        for start in range(0, max(len(images), 1), BATCH_SIZE)
    ]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]
