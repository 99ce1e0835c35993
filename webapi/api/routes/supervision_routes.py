"""Supervision: the model's accuracy and confidence, the number of new images, and fine-tuning."""

from http import HTTPStatus
from typing import Annotated

from flask import Response, jsonify
from pydantic import BaseModel, Field, RootModel

from ml.reporting.requested_figures import count_images_since, count_tunable_layers, mean_confidence
from ml.serving.requested_scoring import score_on_request
from ml.serving.stages import find_version
from webapi import application_state
from webapi.access.authentication import current_actor, requires
from webapi.api.parameters import DigitsOnly, Query, body_of, read_body
from webapi.api.percent import to_percent
from webapi.api.problem_answers import Problem, new_api
from webapi.problems import ProblemError
from webapi.request_deadlines import current_deadline

api = new_api("supervision", __name__, "supervision")

_FINETUNE = "finetune"  # the DAG


class Percent(RootModel[float]):
    """Percent, two decimals."""


class ImageCount(RootModel[int]):
    """A number of images."""


class LastQuery(Query):
    """Number of predictions."""

    nb_last_preds: Annotated[int, DigitsOnly] = Field(ge=1, description="Number of the last predictions; all if fewer")


class StageQuery(Query):
    """A model's name, and a stage of it."""

    model_name: str = Field(min_length=1, max_length=200, description="MYCOFLOW_MODEL_NAME")
    stage: str = Field(min_length=1, max_length=200, description="Production, or an alias in the registry")


class FinetuneBody(StageQuery):
    """The version to fine-tune, the layers and the epochs."""

    variables: Annotated[int, DigitsOnly] = Field(
        ge=1, description="Number of the last layers of the model's backbone to train"
    )
    epochs: Annotated[int, DigitsOnly] = Field(ge=1, le=100, description="Passes over the training data")


class StartedRun(BaseModel):
    """A run in Airflow, and the URL of its page."""

    dag_id: str
    dag_run_id: str
    state: str
    url: str


@api.get("/accuracy", responses={200: Percent, 409: Problem})
@requires("admin")
def get_accuracy() -> Response:
    """Score the served model on the current evaluation set. Only images that are new in the set take time."""
    service = application_state.current()
    model, catalog = service.models.demand_current(), service.database.catalog()
    return jsonify(
        to_percent(score_on_request(catalog, service.settings, model, service.admission, current_deadline()))
    )


@api.get("/past_pred_acc", responses={200: Percent, 404: Problem})
@requires("admin")
def get_past_confidence(query: LastQuery) -> Response:
    """Return the mean confidence of the last predictions."""
    return jsonify(to_percent(mean_confidence(application_state.current_catalog(), query.nb_last_preds)))


@api.get("/nb_new_img", responses={200: ImageCount, 404: Problem, 409: Problem})
@requires("admin")
def get_new_image_count(query: StageQuery) -> Response:
    """Count the pool images that are newer than a model version's snapshot and that a training can use."""
    version, settings = _find_version(query), application_state.current().settings
    return jsonify(count_images_since(application_state.current_catalog(), settings, version))


@api.post(
    "/finetune",
    responses={202: StartedRun, 404: Problem, 409: Problem},
    openapi_extensions={"requestBody": body_of(FinetuneBody)},
)
@requires("admin")
def post_finetune() -> tuple[Response, int, dict[str, str]]:
    """Start a run in Airflow that fine-tunes a model version. The body is a JSON object or a form."""
    body = read_body(FinetuneBody)
    airflow = application_state.current_airflow()
    version = _find_version(body)
    _demand_layers(version, body.variables)
    conf = {
        "model_version": version,
        "layers": body.variables,
        "epochs": body.epochs,
        "requested_by": current_actor(),
    }
    run = airflow.trigger(_FINETUNE, conf)
    started = StartedRun(**run.model_dump(), url=airflow.page(run))
    return jsonify(started.model_dump()), HTTPStatus.ACCEPTED, {"Location": started.url}


def _find_version(query: StageQuery) -> int:
    workspace, models = application_state.current_workspace(), application_state.current().models
    return find_version(workspace, models, query.model_name, query.stage)


def _demand_layers(version: int, layers: int) -> None:
    """Refuse more layers than the backbone has. If the backbone was not created here, the training refuses it."""
    tunable = count_tunable_layers(application_state.current_catalog(), version)
    if tunable is not None and layers > tunable:
        raise ProblemError(422, "invalid-request", f"variables: expected 1 to {tunable} for this model, got {layers}")
