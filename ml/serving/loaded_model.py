"""A model version that answers, in four verbs: `load` it, `decode` a file, `predict` from pixels, `encode` the answer.

Each works alone: nothing here knows HTTP, a database or a queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.backbones.preprocessing import to_pixels
from ml.ingest import validation
from ml.ingest.validation import SanitisedImage, sanitise
from ml.registry.mlflow_registry import MODEL_NAME
from ml.serving.serving_cache import run_id_of, version_of
from ml.tasks.classification.classifier import Classifier, Output

MOST_BYTES = validation.MAX_BYTES  # of a file


@dataclass(frozen=True)
class DecodedImage:
    """An image file, read.

    Args:
        image: what is stored of it.
        pixels: what the model looks at, uint8 RGB, (image_size, image_size, 3).
    """

    image: SanitisedImage
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class NamedClass:
    """A class that an image may show, and its probability, 0 to 1."""

    name: str
    probability: float


@dataclass(frozen=True)
class LoadedModel:
    """One model version, loaded. A request keeps the one it began with."""

    version: int
    bundle: Path
    classifier: Classifier
    name: str = MODEL_NAME

    @classmethod
    def load(cls, bundle: Path) -> "LoadedModel":
        """Load a bundle from the cache. The classifier answers once while it loads, so it is warm.

        Raises: ModelLoadError.
        """
        return cls(version_of(bundle), bundle, Classifier.load(bundle))

    def decode(self, content: bytes) -> DecodedImage:
        """Read an image file.

        Args: content, as received.
        Raises: InvalidImageError.
        """
        image = sanitise(content)
        return DecodedImage(image, to_pixels(image.content, self.classifier.card.image_size))

    def predict(self, pixels: NDArray[np.uint8]) -> Output:
        """Compute probabilities and features of images. Safe to call from several threads.

        Args: pixels, uint8 RGB, (n, image_size, image_size, 3).
        """
        return self.classifier.predict(pixels)

    def predict_from(self, features: NDArray[np.float32]) -> list[float]:
        """Compute the probabilities of one image whose features are known. Args: features, (feature count,)."""
        probabilities: list[float] = self.classifier.classify(features[np.newaxis])[0].tolist()
        return probabilities

    def encode(self, probabilities: Sequence[float], count: int) -> list[NamedClass]:
        """The most probable classes, best first. Args: probabilities, (classes,); count, from 1."""
        best = np.argsort(-np.asarray(probabilities), kind="stable")[:count]
        return [NamedClass(self.classes[index], probabilities[index]) for index in best]

    @property
    def classes(self) -> Sequence[str]:
        """The names, in the order of the probabilities."""
        return self.classifier.card.classes

    @property
    def backbone_id(self) -> str:
        """Whose features it computes."""
        return self.classifier.card.backbone_id

    @property
    def mlflow_run_id(self) -> str:
        """The run that trained it."""
        return run_id_of(self.bundle)
