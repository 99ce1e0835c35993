"""Scoring on request: with the model that answers anyway, in turns with predictions, as long as a request may take."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.catalog.answers import Answer
from ml.deadlines import Deadline
from ml.tasks.base import Model, Output
from ml.tasks.card import ModelCard
from webapi.admission import Load
from webapi.problems import unavailable


@dataclass(frozen=True)
class PatientScorer:
    """A model that waits for its turn before each batch, and stops at the deadline.

    What was computed by then is kept by whoever asked for it, so the same request goes on there.
    """

    classifier: Model
    load: Load
    deadline: Deadline

    @property
    def card(self) -> ModelCard:
        """What the model expects and answers."""
        return self.classifier.card

    def predict(self, images: NDArray[np.uint8]) -> Output:
        """Compute the features of a batch of images.

        Raises: ProblemError, 503, the time is over.
        """
        if self.deadline.remaining() == 0:
            detail = "Too many images of the evaluation set are not scored yet for one request. Ask again to go on."
            raise unavailable("scoring-unfinished", detail)
        with self.load.computing.enter(self.deadline):
            return self.classifier.predict(images)

    def answer(self, features: NDArray[np.float32]) -> list[Answer]:
        """Answers from features."""
        return self.classifier.answer(features)
