"""Feedback on predictions."""

from flask import Response, jsonify

from ml.data.opinions import judge_prediction
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.api.prediction_models import FeedbackAnswer, FeedbackBody, PredictionPath
from webapi.api.problem_answers import Problem, new_api

api = new_api("feedback", __name__, "predictions")


@api.post("/predictions/<int:prediction_id>/feedback", responses={200: FeedbackAnswer, 400: Problem, 404: Problem})
@requires("user")
def post_feedback(path: PredictionPath, body: FeedbackBody) -> Response:
    """Report whether the top class of a prediction was right, and if not, the right class.

    Allowed for the account that requested the prediction, experts and admins. The class that an expert or admin gives
    becomes a confirmed label. Feedback of users is a proposal.
    """
    service = application_state.current()
    model = service.models.current
    feedback_id, effect = judge_prediction(
        application_state.current_catalog(),
        path.prediction_id,
        current_account(),
        body.verdict,
        body.corrected_label,
        service.settings.mirrored_views,
        served={} if model is None else {model.version: model.card.classes},
        reader=service.reader,
        instead=body.instead,
        proposed_name=body.proposed_name,
    )
    service.metrics.predictions.count_feedback(body.verdict)
    return jsonify(id=feedback_id, effect=effect)
