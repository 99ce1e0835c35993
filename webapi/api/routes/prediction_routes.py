"""Predict the class of an image."""

from typing import Any, TypeVar

from flask import Response, jsonify, request, url_for
from pydantic import BaseModel, ValidationError

from ml.serving.explaining.activation_maps import Mapper
from ml.serving.loaded_model import LoadedModel
from ml.serving.prediction_store import Prediction
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.access.maintenance_gate import refuse_in_maintenance
from webapi.api.predicting import count_answer, current_predictor
from webapi.api.prediction_models import (
    FEEDBACK_RELATION,
    HEAT_MAP,
    UPLOAD_OR_URL,
    CountQuery,
    MapQuery,
    Names,
    NamesQuery,
    PredictionAnswer,
    PredictionPath,
    UrlBody,
)
from webapi.api.problem_answers import Problem, new_api
from webapi.problems import ProblemError, refuse_invalid
from webapi.request_deadlines import current_deadline

api = new_api("predictions", __name__, "predictions")

_PROBLEMS: dict[int | str, type[BaseModel] | dict[Any, Any] | None] = {
    400: Problem,
    404: Problem,
    413: Problem,
    415: Problem,
    502: Problem,
    504: Problem,
}
_Model = TypeVar("_Model", bound=BaseModel)


@api.get("/predictions", responses={200: Names, **_PROBLEMS})
@requires("user")
def get_predictions(query: NamesQuery) -> Response:
    """Predict the class of the image at a URL."""
    refuse_in_maintenance()
    model = _model_for(query.nb_preds)
    prediction = current_predictor(model).predict_url(query.file)
    return _with_headers(jsonify(_encode(model, prediction, query.nb_preds)), prediction.id)


@api.post(
    "/predictions",
    responses={200: PredictionAnswer, **_PROBLEMS},
    openapi_extensions={"requestBody": UPLOAD_OR_URL},
)
@requires("user")
def post_prediction(query: CountQuery) -> Response:
    """Predict the class of an image: `file` in a multipart form, or the image at the `url` in a JSON object."""
    refuse_in_maintenance()
    if request.is_json:
        body = _read(UrlBody, request.get_json(), query)
        count, model = body.nb_preds, _model_for(body.nb_preds)
        prediction = current_predictor(model).predict_url(body.url)
    else:
        content = _read_file()
        count = _read(CountQuery, request.form.to_dict(), query).nb_preds
        model = _model_for(count)
        prediction = current_predictor(model).predict_upload(content)
    answer = jsonify(
        id=prediction.id,
        model={"name": application_state.current().settings.model_name, "version": model.version},
        cached=prediction.is_cached,
        results=_encode(model, prediction, count),
    )
    return _with_headers(answer, prediction.id)


@api.get("/predictions/<int:prediction_id>/activation-map", responses={200: HEAT_MAP, 404: Problem, 409: Problem})
@requires("user")
def get_activation_map(path: PredictionPath, query: MapQuery) -> Response:
    """Draw where in the photo of a prediction the model saw a class.

    Allowed for the account that requested the prediction, experts and admins. Only the version that is served draws
    maps: 409 for predictions of another version, and for a model whose network does not allow it.
    """
    refuse_in_maintenance()
    service = application_state.current()
    mapper = Mapper(
        application_state.current_catalog(),
        service.admission,
        service.models.demand_current(),
        current_account(),
        current_deadline(),
    )
    picture = mapper.draw(path.prediction_id, query.class_name)
    return Response(picture, mimetype="image/png", headers={"Cache-Control": "private, no-cache"})


def _with_headers(answer: Response, prediction_id: int) -> Response:
    feedback = url_for("feedback.post_feedback", prediction_id=prediction_id)
    answer.headers["Prediction-Id"] = str(prediction_id)
    answer.headers["Link"] = f'<{feedback}>; rel="{FEEDBACK_RELATION}"'
    return answer


def _encode(model: LoadedModel, prediction: Prediction, count: int) -> list[dict[str, object]]:
    """Count an answer, and return it as JSON."""
    count_answer(prediction)
    return model.encode(prediction.answer, count)


def _model_for(name_count: int) -> LoadedModel:
    """Return the served model. Refuse a request for more classes than it has."""
    model = application_state.current().models.demand_current()
    class_count = len(model.card.classes)
    if name_count > class_count:
        detail = f"nb_preds: expected at most {class_count}, the classes of the model, got {name_count}."
        raise ProblemError(422, "invalid-request", detail)
    return model


def _read(model: type[_Model], body: Any, query: CountQuery) -> _Model:
    values = query.model_dump() | body if isinstance(body, dict) else body
    try:
        return model.model_validate(values)
    except ValidationError as error:
        refuse_invalid(error)


def _read_file() -> bytes:
    file = request.files.get("file")
    if file is None:
        detail = "Expected an image in the field `file` of a multipart form, or JSON with a `url`."
        raise ProblemError(422, "missing-file", detail)
    content: bytes = file.read()
    return content
