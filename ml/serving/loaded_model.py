"""A loaded model version. It has four steps: `load`, `decode` a file, `predict` from pixels, `encode` the answer.

Each step works alone. Code here does not know HTTP, a database or a queue.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.catalog.answers import Answer
from ml.deadlines import Deadline
from ml.ingest.pictures.decoding_work import estimate_seconds
from ml.ingest.pictures.picture_limits import ANSWERING
from ml.ingest.validation import check_byte_count
from ml.registry.local_copies import run_id_of, version_of
from ml.serving.picture_decoder.decoder_process import DecodedImage, shared_decoder
from ml.tasks.card import ModelCard
from ml.tasks.registered_tasks import load_model
from ml.tasks.task import LocatingModel, Model, Output, Task

MAX_IMAGE_BYTES = ANSWERING.bytes


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model version and its task. A request uses the same one from start to end."""

    version: int
    bundle: Path
    model: Model
    task: Task

    @classmethod
    def load(cls, bundle: Path, task: Task) -> "LoadedModel":
        """Load a bundle from the cache. This includes a test prediction, which warms the model up.

        Raises: ModelLoadError.
        """
        return cls(version_of(bundle), bundle, load_model(task, bundle), task)

    def estimate_decoding(self, content: bytes) -> float:
        """Return about how many seconds it takes to decode an image file.

        Args: content, the file as received.
        Raises: InvalidImageError, a file that is refused without decoding it.
        """
        check_byte_count(len(content), ANSWERING)
        return estimate_seconds(content, ANSWERING)

    def decode(self, content: bytes, deadline: Deadline) -> DecodedImage:
        """Decode an image file, in the process that decodes for all.

        Args: content, the file as received.
        Raises: InvalidImageError; TimeOverError, the deadline passed.
        """
        return shared_decoder().decode(content, self.card.image_size, deadline)

    def predict(self, pixels: NDArray[np.uint8]) -> Output:
        """Compute answers and features of images. Several threads may call it at once.

        Args: pixels, uint8 RGB, (n, image_size, image_size, 3).
        """
        return self.model.predict(pixels)

    def answer(self, features: NDArray[np.float32]) -> Answer:
        """Answer one image from its features. Args: features, (feature count,)."""
        return self.model.answer(features[np.newaxis])[0]

    def encode(self, answer: Answer, count: int) -> list[dict[str, object]]:
        """Return an answer as JSON, best class first. Args: count, the maximum number of entries."""
        return self.task.encode(answer, self.card.classes, count)

    @property
    def card(self) -> ModelCard:
        """Return the model card: the expected input and the classes."""
        return self.model.card

    @property
    def draws_maps(self) -> bool:
        """Return whether the network allows to see where it finds a class."""
        return isinstance(self.model, LocatingModel) and self.model.draws_maps

    @property
    def mlflow_run_id(self) -> str:
        """Return the id of the MLflow run that trained the model."""
        return run_id_of(self.bundle)
