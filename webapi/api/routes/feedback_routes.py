"""Was the prediction right?"""

from collections.abc import Sequence

import sqlalchemy as sa
from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.data.copies.near_copies import measure_images
from ml.data.feedback import (
    Opinion,
    StoredPrediction,
    find_classes,
    find_prediction,
    give_feedback,
    is_known_label,
    may_certify,
)
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.api.prediction_models import FeedbackAnswer, FeedbackBody, PredictionPath
from webapi.problems import Problem, ProblemError
from webapi.request_deadlines import begin_until, current_deadline

api = APIBlueprint("feedback", __name__, abp_tags=[Tag(name="predictions")])


@api.post("/predictions/<int:prediction_id>/feedback", responses={200: FeedbackAnswer, 400: Problem, 404: Problem})
@requires("user")
def post_feedback(path: PredictionPath, body: FeedbackBody) -> Response:
    """Say whether the first name of a prediction was right, and which one is.

    For who asked for it, experts and admins. The name that an expert or admin gives becomes a confirmed label; what
    anybody else says is a proposal.
    """
    state, account = application_state.current(), current_account()
    catalog = state.database.catalog()
    prediction = _find_prediction(catalog, path.prediction_id, account)
    if may_certify(account):
        measure_images(catalog, [prediction.item_id])
    with begin_until(catalog, current_deadline()) as connection:
        classes = find_classes(connection, prediction.model_version) or _served_classes(prediction.model_version)
        opinion = _opinion(body, classes[prediction.best_index])
        _check_known(connection, opinion.corrected, classes)
        feedback_id, effect = give_feedback(connection, prediction, account, opinion, state.settings.mirrored_views)
    state.metrics.predictions.count_feedback(body.verdict)
    return jsonify(id=feedback_id, effect=effect)


def _find_prediction(catalog: Catalog, prediction_id: int, account: Account) -> StoredPrediction:
    with begin_until(catalog, current_deadline()) as connection:
        prediction = find_prediction(connection, prediction_id)
    if prediction is None:
        raise ProblemError(404, "unknown-prediction", "Expected the id of a prediction, got one that nobody has.")
    _check_access(prediction, account)
    return prediction


def _check_access(prediction: StoredPrediction, account: Account) -> None:
    if account.id != prediction.account_id and not may_certify(account):
        detail = "Feedback on a prediction is for who asked for it, experts and admins."
        raise ProblemError(403, "forbidden", detail)


def _served_classes(version: int) -> list[str]:
    """The classes of a version that somebody registered without this catalog, while it is served."""
    model = application_state.current().models.current
    if model is None or model.version != version:
        detail = f"The names of model version {version} are not known here, so its predictions take no feedback."
        raise ProblemError(404, "unknown-version", detail)
    return list(model.classifier.card.classes)


def _opinion(body: FeedbackBody, predicted: str) -> Opinion:
    if body.verdict == "ok" and body.corrected_label is not None:
        raise _invalid("expected none with `ok`, which says that the prediction is right")
    if body.corrected_label == predicted:
        raise _invalid("expected another name than the predicted one, which `nok` says is wrong")
    return Opinion(body.verdict, predicted, body.corrected_label)


def _check_known(connection: sa.Connection, label: str | None, classes: Sequence[str]) -> None:
    if label is not None and label not in classes and not is_known_label(connection, label):
        raise _invalid("expected a name that a model or a stored image has, got another. Check its spelling")


def _invalid(what: str) -> ProblemError:
    return ProblemError(422, "invalid-request", f"corrected_label: {what}.")
