"""The model card: the facts about a model version that serving needs. It is in model.json beside the model's files."""

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ml.backbones.preprocessing import PREPROCESSING_VERSION
from ml.backbones.registered import FIRST_BACKBONE
from ml.catalog.class_names import mend_class_names
from ml.errors import ModelLoadError

FILE_NAME = "model.json"
# Values for the cards of older releases, which lack them.
_FIRST = {"task": "classification", "files": ["model.onnx", "head.npz"], "backbone": FIRST_BACKBONE}


@dataclass(frozen=True)
class ModelCard:
    """The input and output of a model version.

    Args:
        classes: names, in the order of the probabilities.
        image_size: side of the square input, pixels.
        backbone_id: SHA-256 of the backbone's ONNX file, a colon, the preprocessing version.
        backbone_weights: origin of the backbone's weights, in the form of ml.backbones.base.BackboneWeights.
        backbone: its name in ml.backbones.registered.
        task: its name in ml.tasks.registered_tasks.
        files: names of the files that serving needs besides the card.
        preprocessing: version of the code that decodes image files to pixels.
        precision: arithmetic of the backbone, `int8` or `fp32`. The head is always fp32.
        precision_reason: reason for this precision, in a sentence.
        reduce_range: the int8 weights have 7 bits, so that sums saturate on no CPU.
        temperature: the divisor of the logits that calibrates the confidences; the head in the files contains it.
        calibration_images: number of images that the temperature was fitted on; 0 if it was not fitted.
        novelty_threshold: the sum of surprises that is a novelty of 1, see ml.confidence.novelty; None if it is not
            measured.
        novelty_reason: how the threshold was chosen, or why novelty is not measured, in a sentence.
        model_sha256: SHA-256 of model.onnx, set when the files are written. None in old versions.
    """

    classes: tuple[str, ...]
    image_size: int
    backbone_id: str
    backbone_weights: str
    backbone: str
    task: str
    files: tuple[str, ...]
    preprocessing: str = PREPROCESSING_VERSION
    precision: str = "fp32"
    precision_reason: str = ""
    reduce_range: bool = False
    temperature: float = 1.0
    calibration_images: int = 0
    novelty_threshold: float | None = None
    novelty_reason: str = "Novelty is not measured by this version."
    model_sha256: str | None = None


def save_card(card: ModelCard, folder: Path) -> None:
    """Write model.json to a bundle's folder."""
    (folder / FILE_NAME).write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_card(folder: Path) -> ModelCard:
    """Read model.json from a bundle's folder.

    Raises: ModelLoadError, it is missing or wrong, or has another preprocessing version than this code.
    """
    path = folder / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        card = ModelCard(**{**_FIRST, **content})
    except (OSError, ValueError, TypeError) as error:
        raise ModelLoadError(
            f"Expected a model card at {path}. It does not load ({error}). Download the model version again."
        ) from error
    _check(card, path)
    return replace(card, classes=tuple(mend_class_names(card.classes)), files=tuple(card.files))


def _check(card: ModelCard, path: Path) -> None:
    classes = card.classes
    is_list = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not is_list or len(classes) < 2 or len(set(mend_class_names(classes))) < len(classes):
        raise ModelLoadError(f"Expected a list of two or more distinct class names in {path}. Received: {classes!r}.")
    if not isinstance(card.image_size, int) or card.image_size < 1:
        raise ModelLoadError(f"Expected an image_size of 1 or more in {path}. Received: {card.image_size!r}.")
    if not isinstance(card.files, list) or not all(
        isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name) for name in card.files
    ):
        raise ModelLoadError(f"Expected names of files without a folder in {path}. Received: {card.files!r}.")
    if card.preprocessing != PREPROCESSING_VERSION:
        raise ModelLoadError(
            f"Expected a model for preprocessing {PREPROCESSING_VERSION} in {path}. Received: {card.preprocessing!r}. "
            "Retrain with this release, or serve the model with the release that trained it."
        )
