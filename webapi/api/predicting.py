"""Make predictions for the current request: routes of the API and pages share this."""

from ml.serving.answering import Predictor
from ml.serving.loaded_model import LoadedModel
from ml.serving.prediction_store import Prediction
from webapi import application_state
from webapi.access.authentication import current_account
from webapi.request_deadlines import current_deadline


def current_predictor(model: LoadedModel) -> Predictor:
    """Return what makes a prediction for the current account, until the current deadline.

    Raises: DatabaseUnavailableError.
    """
    current = application_state.current()
    return Predictor(
        settings=current.settings,
        admission=current.admission,
        catalog=current.database.catalog(),
        model=model,
        account_id=current_account().id,
        deadline=current_deadline(),
        observe=current.metrics.predictions.observe_stage,
    )


def count_answer(prediction: Prediction) -> None:
    """Count an answer in the metrics."""
    application_state.current().metrics.predictions.count_prediction(prediction)
