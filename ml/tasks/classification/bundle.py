"""Write the files of one model version, and check that its two networks agree.

model.onnx   the network that is scored and served: probabilities and features, with the int8 or fp32 backbone
model.keras  the same network in fp32 for Keras, with the same head
head.npz     the head alone, for images whose features are stored
novelty.npz  what novelty is measured with, unless the version does not measure it
model.json   the model card
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.backbones.keras_backend import load_keras
from ml.backbones.onnx_runtime import Floats, Images, OnnxBackbone
from ml.backbones.registered import find_backbone
from ml.backbones.served_backbone import ServedBackbone
from ml.confidence.novelty import NOVELTY_FILE, NoveltyMeasure, save_novelty
from ml.errors import ModelLoadError
from ml.tasks.card import ModelCard, save_card
from ml.tasks.classification import FILES, NAME
from ml.tasks.classification.answer_confidence import AnswerConfidence
from ml.tasks.classification.classifier import Classifier
from ml.tasks.classification.head import Head, save_head
from ml.tasks.classification.keras_classifier import build_classifier
from ml.tasks.classification.onnx_head import join_head

PARITY_IMAGES = 32
# Both networks compute in fp32. Sums in another order change a probability by about 1e-6. A wrong weight or a swapped
# channel changes it by tenths.
PARITY_TOLERANCE = 1e-3
# The accuracy of int8 was checked when the backbone was created. This checks only that both files are the same network:
# quantisation never changes the class of most images, but a wrong file does.
SERVED_AGREEMENT = 0.5


@dataclass(frozen=True)
class Parity:
    """The differences between the networks of a model version on some images.

    Args:
        image_count: number of images compared.
        maximum_difference: largest absolute difference of a probability between model.keras and the fp32 ONNX network.
        top1_agreement: share of images with the same top class in both, 0 to 1.
        served_difference, served_agreement: the same for model.keras and model.onnx, which may be int8.
    """

    image_count: int
    maximum_difference: float
    top1_agreement: float
    served_difference: float
    served_agreement: float


def make_card(served: ServedBackbone, classes: Sequence[str], confidence: AnswerConfidence) -> ModelCard:
    """Return the model card of a version with a head for these classes on this backbone."""
    novelty = confidence.novelty
    return ModelCard(
        classes=tuple(classes),
        image_size=served.image_size,
        backbone_id=served.backbone_id,
        backbone=served.backbone,
        backbone_weights=served.weights_recipe,
        precision=served.precision,
        precision_reason=served.precision_reason,
        reduce_range=served.reduce_range,
        task=NAME,
        files=(*FILES, NOVELTY_FILE) if novelty else FILES,
        temperature=confidence.temperature,
        calibration_images=confidence.image_count,
        novelty_threshold=novelty.threshold if novelty else None,
        novelty_reason=confidence.novelty_reason,
    )


def write_bundle(
    folder: Path,
    served: ServedBackbone,
    head: Head,
    card: ModelCard,
    images: Images,
    novelty: NoveltyMeasure | None = None,
) -> Parity:
    """Write the files of a model version and compare its networks.

    Args:
        folder: an existing folder.
        served: the backbone that the head was trained on.
        head: the trained head, at its temperature.
        card: the model card, without the hash of model.onnx.
        images: uint8 RGB, (n, image_size, image_size, 3), n from 1; the first 32 are compared.
        novelty: how novelty is measured; the card names its file.
        Raises: ModelLoadError, the files do not load; probabilities of the fp32 networks differ by more than
            PARITY_TOLERANCE; or model.onnx and model.keras agree on fewer than half of the images.
    """
    joined = join_head(served.onnx, head)
    (folder / "model.onnx").write_bytes(joined)
    save_head(head, folder / "head.npz")
    if novelty is not None:
        save_novelty(novelty, folder / NOVELTY_FILE)
    save_card(replace(card, model_sha256=hashlib.sha256(joined).hexdigest()), folder)
    backbone = find_backbone(served.backbone)
    weights = backbone.read_onnx(served.fp32_onnx, served.weights_recipe)
    network = build_classifier(backbone, weights, head, card.image_size)
    network.save(folder / "model.keras")
    chosen = images[:PARITY_IMAGES]
    as_served = Classifier.load(folder).predict(chosen).probabilities
    is_int8 = served.precision == "int8"
    fp32 = head.classify(OnnxBackbone(served.fp32_onnx).features(chosen)) if is_int8 else as_served
    return _compare(_probabilities(network, chosen), fp32, as_served)


def keras_accuracy(folder: Path, images: Images, labels: NDArray[np.int64]) -> float:
    """Measure the accuracy of the stored Keras model.

    Args:
        folder: a bundle.
        images: uint8 RGB, (n, image_size, image_size, 3).
        labels: class indices, (n,).
    Returns: accuracy, 0 to 1.
    """
    network = load_keras().models.load_model(folder / "model.keras")
    return float((_probabilities(network, images).argmax(axis=1) == labels).mean())


def _compare(keras: Floats, fp32: Floats, served: Floats) -> Parity:
    parity = Parity(len(keras), *_apart(keras, fp32), *_apart(keras, served))
    if not parity.maximum_difference <= PARITY_TOLERANCE:
        raise ModelLoadError(
            f"Expected model.keras and the fp32 network in ONNX to agree within {PARITY_TOLERANCE} on {len(keras)} "
            f"images. Received: a difference of {parity.maximum_difference:.2g}, and the same top class for "
            f"{parity.top1_agreement:.0%}. Do not register this model; report the export as a defect."
        )
    if not parity.served_agreement >= SERVED_AGREEMENT:
        raise ModelLoadError(
            f"Expected model.onnx and model.keras to agree on at least {SERVED_AGREEMENT:.0%} of {len(keras)} images. "
            f"Received: {parity.served_agreement:.0%}. Retrain with MYCOFLOW_MODEL_PRECISION=fp32, and report the "
            "defect."
        )
    return parity


def _apart(keras: Floats, other: Floats) -> tuple[float, float]:
    """Return the largest difference of a probability, and the share of equal top classes."""
    return float(np.abs(keras - other).max()), float((keras.argmax(axis=1) == other.argmax(axis=1)).mean())


def _probabilities(network: Any, images: Images) -> Floats:
    return np.asarray(network.predict(images, batch_size=PARITY_IMAGES, verbose=0))
