"""The files of one model version, and the proof that its two networks say the same.

model.onnx   what is scored and served: probabilities and features
model.keras  the same network for Keras
head.npz     the head alone, for images whose features are known
model.json   the model card
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import ModelLoadError
from ml.model.card import ModelCard, save_card
from ml.model.export import join_head, read_trunk
from ml.model.head import Head, save_head
from ml.model.keras_backend import load_keras
from ml.model.network import build_classifier
from ml.model.runtime import Classifier, Images

PARITY_IMAGES = 32
# Both compute in fp32; sums in another order move a probability by some 1e-6. A wrong weight or a swapped channel
# moves it by tenths.
PARITY_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Parity:
    """How far model.keras and model.onnx are apart on some images.

    Args:
        image_count: images compared.
        maximum_difference: largest absolute difference of a probability.
        top1_agreement: share of the images with the same best class, 0 to 1.
    """

    image_count: int
    maximum_difference: float
    top1_agreement: float


def write_bundle(folder: Path, trunk_onnx: bytes, head: Head, card: ModelCard, images: Images) -> Parity:
    """Write the files of a model version and compare its two networks.

    Args:
        folder: an existing folder.
        trunk_onnx: the trunk, as `export_trunk` wrote it.
        head: the trained head.
        card: classes, size and trunk id.
        images: uint8 RGB, (n, image_size, image_size, 3), n from 1; the first 32 are compared.
    Raises: ModelLoadError, the files do not load or probabilities differ by more than PARITY_TOLERANCE.
    """
    (folder / "model.onnx").write_bytes(join_head(trunk_onnx, head))
    save_head(head, folder / "head.npz")
    save_card(card, folder)
    network = build_classifier(read_trunk(trunk_onnx, card.trunk_id), head, card.image_size)
    network.save(folder / "model.keras")
    return _compare(network, Classifier.load(folder), images[:PARITY_IMAGES])


def keras_accuracy(folder: Path, images: Images, labels: NDArray[np.int64]) -> float:
    """Score the stored Keras model.

    Args:
        folder: a bundle.
        images: uint8 RGB, (n, image_size, image_size, 3).
        labels: class indices, (n,).
    Returns: accuracy, 0 to 1.
    """
    network = load_keras().models.load_model(folder / "model.keras")
    return float((_probabilities(network, images).argmax(axis=1) == labels).mean())


def _compare(network: Any, classifier: Classifier, images: Images) -> Parity:
    expected = _probabilities(network, images)
    received = classifier.predict(images).probabilities
    agreement = float((expected.argmax(axis=1) == received.argmax(axis=1)).mean())
    parity = Parity(len(images), float(np.abs(expected - received).max()), agreement)
    if not parity.maximum_difference <= PARITY_TOLERANCE:
        raise ModelLoadError(
            f"Expected model.keras and model.onnx to agree within {PARITY_TOLERANCE} on {len(images)} images. "
            f"Received: probabilities {parity.maximum_difference:.2g} apart, the same best class on {agreement:.0%}. "
            "Do not register this model; report the export as a defect."
        )
    return parity


def _probabilities(network: Any, images: Images) -> NDArray[np.float32]:
    return np.asarray(network.predict(images, batch_size=PARITY_IMAGES, verbose=0))
