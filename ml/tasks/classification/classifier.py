"""A model version that answers with ONNX Runtime. This module does not import TensorFlow, MLflow or onnx."""

import hashlib
import logging
from functools import cached_property
from pathlib import Path

import numpy as np

from ml.backbones.cpus import int8_saturates
from ml.backbones.onnx_files import ACTIVATIONS_NAME
from ml.backbones.onnx_runtime import (
    Floats,
    Images,
    Turns,
    check_images,
    check_outputs,
    input_size,
    read_file,
    run_in_batches,
)
from ml.backbones.preprocessing import INPUT_CHANNELS
from ml.catalog.answers import Answer
from ml.confidence.novelty import NOVELTY_FILE, NoveltyMeasure, load_novelty
from ml.errors import ModelLoadError, NoActivationMapError
from ml.tasks.card import ModelCard, load_card
from ml.tasks.classification.classification_answers import rank_classes
from ml.tasks.classification.head import Head, load_head
from ml.tasks.task import Output

logger = logging.getLogger(__name__)

_OUTPUTS = ["probabilities", "features"]
ANSWER_TOLERANCE = 1e-4  # between the head in the graph and head.npz: float32 sums in another order


class Classifier:
    """A loaded model version. `Classifier.load` creates it."""

    def __init__(self, card: ModelCard, turns: Turns, head: Head, novelty: NoveltyMeasure | None) -> None:
        self.card = card
        self._turns = turns
        self._head = head
        self._novelty = novelty

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Load a bundle and run one test prediction.

        Args: folder, with model.onnx, head.npz, model.json, and novelty.npz if the card has a threshold of novelty.
        Raises: ModelLoadError, a file is missing, damaged, or does not fit the others.
        """
        card = load_card(folder)
        content = read_file(folder / "model.onnx")
        _check_bytes(content, card, folder)
        turns = Turns(content, str(folder / "model.onnx"))
        head = load_head(folder / "head.npz", len(card.classes))
        expected = {"probabilities": len(card.classes), "features": head.feature_count}
        check_outputs(turns.alone, expected)
        if (size := input_size(turns.alone)) != card.image_size:
            raise ModelLoadError(
                f"Expected a network for {card.image_size} pixels in {folder}, as its card says. Received: {size}. "
                "Download the model version again."
            )
        is_measured = card.novelty_threshold is not None
        novelty = load_novelty(folder / NOVELTY_FILE, head.feature_count) if is_measured else None
        classifier = cls(card, turns, head, novelty)
        classifier._check_answer(folder)
        return classifier

    def predict(self, images: Images) -> Output:
        """Classify images. Several threads may call it at once.

        Args: images, uint8 RGB, (n, image_size, image_size, 3), as `ml.backbones.preprocessing.to_pixels` makes them.
        Raises: ValueError, wrong shape or dtype.
        """
        check_images(images, self.card.image_size)
        with self._turns.take() as session:
            probabilities, features = run_in_batches(session, _OUTPUTS, images)
        return Output(self._rank(probabilities, features), features)

    def answer(self, features: Floats) -> list[Answer]:
        """Classify images from their features.

        Args: features, float32, (n, feature count).
        """
        return self._rank(self.classify(features), features)

    def classify(self, features: Floats) -> Floats:
        """Compute probabilities from features.

        Args: features, float32, (n, feature count).
        Returns: probabilities, float32, (n, classes).
        """
        return self._head.classify(features)

    @property
    def draws_maps(self) -> bool:
        """Return whether model.onnx has the output `activations`, and sees more than one region of an image."""
        return self._regions > 1

    @cached_property
    def _regions(self) -> int:
        """The number of regions of an image that have features of their own; 0 without the output `activations`."""
        if ACTIVATIONS_NAME not in {output.name for output in self._turns.alone.get_outputs()}:
            return 0
        with self._turns.take() as session:
            (activations,) = run_in_batches(session, [ACTIVATIONS_NAME], self._grey_image())
        return int(np.prod(activations.shape[2:]))

    def locate(self, image: Images, class_name: str) -> Floats:
        """Compute the class activation map of one image. Several threads may call it at once.

        Args: image, uint8 RGB, (image_size, image_size, 3); class_name, one of the card's.
        Returns: float32, (rows, columns).
        Raises: NoActivationMapError, model.onnx has no output `activations`, or sees the image as one region;
            ValueError, wrong shape or dtype.
        """
        check_images(image[np.newaxis], self.card.image_size)
        if self._regions == 1:
            raise NoActivationMapError(
                "Expected a model that sees several regions of an image. This version sees its input of "
                f"{self.card.image_size} pixels as one. Retrain with a larger MYCOFLOW_IMAGE_SIZE."
            )
        if not self._regions:
            raise NoActivationMapError(
                "Expected a model whose features are an average over the image, and whose file has the output "
                f"{ACTIVATIONS_NAME!r}. This version has none: it is older, or was trained elsewhere. Retrain."
            )
        with self._turns.take() as session:
            (activations,) = run_in_batches(session, [ACTIVATIONS_NAME], image[np.newaxis])
        return self._head.locate(activations[0], self.card.classes.index(class_name))

    def _rank(self, probabilities: Floats, features: Floats) -> list[Answer]:
        if self._novelty is None:
            return rank_classes(probabilities, self.card.classes)
        novelties = self._novelty.measure(features, probabilities.max(axis=1)).tolist()
        return rank_classes(probabilities, self.card.classes, novelties)

    def _grey_image(self) -> Images:
        return np.full((1, self.card.image_size, self.card.image_size, INPUT_CHANNELS), 127, np.uint8)

    def _check_answer(self, folder: Path) -> None:
        image = self._grey_image()
        outputs = [run_in_batches(session, _OUTPUTS, image) for session in (self._turns.alone, self._turns.meanwhile)]
        difference = max(np.abs(probabilities - self.classify(features)).max() for probabilities, features in outputs)
        if not difference <= ANSWER_TOLERANCE:
            raise ModelLoadError(
                f"Expected model.onnx and head.npz in {folder} to agree within {ANSWER_TOLERANCE}. "
                f"Received: a difference of {difference}. Download the model version again."
            )


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
            "in its evaluation. Retrain on this machine, or with MYCOFLOW_MODEL_PRECISION=fp32.",
            folder,
        )
