"""Score the served model during a request. Its batches alternate with predictions, until the request's deadline."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.deadlines import Deadline
from ml.errors import ScoringUnfinishedError
from ml.evaluation.floor import floor_of
from ml.evaluation.scoring import deciding_evaluation, score_loaded
from ml.serving.admission import AdmissionControl
from ml.serving.loaded_model import LoadedModel
from ml.serving.stages import remember_loaded
from ml.settings import Settings
from ml.tasks.card import ModelCard
from ml.tasks.task import Output


def score_on_request(
    catalog: Catalog, settings: Settings, model: LoadedModel, admission: AdmissionControl, deadline: Deadline
) -> float:
    """Score a model on the current evaluation set. Only images that it has not scored yet take time.

    Returns: its main figure on the deciding part, 0 to 1.
    Raises: EvaluationSetError; ScoringUnfinishedError, the deadline passed; BusyError, no slot was free in time.
    """
    remember_loaded(catalog, model)
    scored = score_loaded(
        catalog,
        model.task,
        model.version,
        model.card.classes,
        lambda: TimeLimitedModel(model, admission, deadline),
        floor_of(settings),
    )
    return deciding_evaluation(scored).main_figure


@dataclass(frozen=True)
class TimeLimitedModel:
    """A model that waits for a slot before each batch, and stops at the deadline.

    The caller stores each batch, so the next request continues where this one stopped.
    """

    model: LoadedModel
    admission: AdmissionControl
    deadline: Deadline

    @property
    def card(self) -> ModelCard:
        """Return the model card."""
        return self.model.card

    def predict(self, images: NDArray[np.uint8]) -> Output:
        """Answer a batch of images.

        Raises: ScoringUnfinishedError, the deadline passed; BusyError.
        """
        if self.deadline.remaining() == 0:
            raise ScoringUnfinishedError(
                "Too many images of the evaluation set are not scored yet for one request. Ask again to continue."
            )
        with self.admission.computing.enter(self.deadline):
            return self.model.predict(images)

    def answer(self, features: NDArray[np.float32]) -> list[Answer]:
        """Answer images from their features."""
        return self.model.model.answer(features)
