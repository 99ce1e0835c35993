"""A model version that answers, in four verbs: `load` it, `decode` a file, `predict` from pixels, `encode` the answer.

Each works alone: nothing here knows HTTP, a database or a queue.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.backbones.preprocessing import to_pixels
from ml.catalog.answers import Answer
from ml.ingest import validation
from ml.ingest.validation import SanitisedImage, sanitise
from ml.serving.serving_cache import run_id_of, version_of
from ml.tasks.base import Model, Output, Task
from ml.tasks.card import ModelCard
from ml.tasks.registered import load_model

MAX_IMAGE_BYTES = validation.MAX_BYTES  # of a file


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
class LoadedModel:
    """One model version, loaded, and the task it was trained for. A request keeps the one it began with."""

    version: int
    bundle: Path
    model: Model
    task: Task

    @classmethod
    def load(cls, bundle: Path, task: Task) -> "LoadedModel":
        """Load a bundle from the cache. The model answers once while it loads, so it is warm.

        Raises: ModelLoadError.
        """
        return cls(version_of(bundle), bundle, load_model(task, bundle), task)

    def decode(self, content: bytes) -> DecodedImage:
        """Read an image file.

        Args: content, as received.
        Raises: InvalidImageError.
        """
        image = sanitise(content)
        return DecodedImage(image, to_pixels(image.content, self.card.image_size))

    def predict(self, pixels: NDArray[np.uint8]) -> Output:
        """Compute answers and features of images. Safe to call from several threads.

        Args: pixels, uint8 RGB, (n, image_size, image_size, 3).
        """
        return self.model.predict(pixels)

    def answer(self, features: NDArray[np.float32]) -> Answer:
        """Answer one image whose features are known. Args: features, (feature count,)."""
        return self.model.answer(features[np.newaxis])[0]

    def encode(self, answer: Answer, count: int) -> list[dict[str, object]]:
        """Make JSON of an answer, best first. Args: count, the most entries that were asked for."""
        return self.task.encode(answer, self.card.classes, count)

    @property
    def card(self) -> ModelCard:
        """What the model expects, and the classes it knows."""
        return self.model.card

    @property
    def mlflow_run_id(self) -> str:
        """The run that trained it."""
        return run_id_of(self.bundle)
