"""How good is the model, what is new since, and train it further."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field, RootModel

from ml.backbones.served_backbone import count_tunable_layers
from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.logs.results import mean_top_confidence
from ml.catalog.models.model_versions import knows_images_until, load_model_version
from ml.data.snapshot_rules import count_new_images, nightly_rules
from ml.evaluation.floor import floor_of
from ml.evaluation.scoring import deciding_evaluation, score_loaded
from ml.tasks.registered import find_task
from webapi import airflow_runs, application_state
from webapi.access.authentication import current_account, requires
from webapi.admin_workspace import served_model
from webapi.api.parameters import DigitsOnly, Query, body_of, read_body
from webapi.api.stages import find_version
from webapi.problems import Problem, ProblemError
from webapi.request_deadlines import begin_until, current_deadline
from webapi.requested_scoring import PatientScorer

api = APIBlueprint("supervision", __name__, abp_tags=[Tag(name="supervision")])

_FINETUNE = "finetune"  # the DAG


class Percent(RootModel[float]):
    """Percent, two decimals."""


class ImageCount(RootModel[int]):
    """A number of images."""


class LastQuery(Query):
    """How many predictions to look at."""

    nb_last_preds: Annotated[int, DigitsOnly] = Field(ge=1, description="Those that there are, if fewer")


class StageQuery(Query):
    """A model version by its stage."""

    model_name: str = Field(min_length=1, max_length=200, description="MYCOFLOW_MODEL_NAME")
    stage: str = Field(min_length=1, max_length=200, description="Production, or an alias in the registry")


class FinetuneBody(StageQuery):
    """What to train, and for how long."""

    variables: Annotated[int, DigitsOnly] = Field(
        ge=1, description="How many layers of the model's backbone to train, counted from the last one back"
    )
    epochs: Annotated[int, DigitsOnly] = Field(ge=1, le=100, description="Times through the training data")


class StartedRun(BaseModel):
    """A run in Airflow, and its page there."""

    dag_id: str
    dag_run_id: str
    state: str
    url: str


@api.get("/accuracy", responses={200: Percent, 409: Problem})
@requires("admin")
def get_accuracy() -> Response:
    """Score the model in production on the evaluation set as it is now; only images that are new there take time."""
    model = served_model()
    current, deadline = application_state.current(), current_deadline()
    scored = score_loaded(
        current.database.catalog(),
        find_task(current.settings.task),
        model.version,
        model.classifier.card.classes,
        lambda: PatientScorer(model.classifier, current.load, deadline),
        floor_of(current.settings),
    )
    return jsonify(_percent(deciding_evaluation(scored).main_figure))


@api.get("/past_pred_acc", responses={200: Percent, 404: Problem})
@requires("admin")
def get_past_confidence(query: LastQuery) -> Response:
    """How sure the model was on average in its last predictions."""
    with begin_until(application_state.current().database.catalog(), current_deadline()) as connection:
        confidence = mean_top_confidence(connection, query.nb_last_preds)
    if confidence is None:
        raise ProblemError(404, "no-predictions", "Expected predictions to look at, found none. Make one first.")
    return jsonify(_percent(confidence))


@api.get("/nb_new_img", responses={200: ImageCount, 404: Problem, 409: Problem})
@requires("admin")
def get_new_image_count(query: StageQuery) -> Response:
    """Count the images of the pool that came after what a model version learned from, and that a training can use."""
    version, service = find_version(query.model_name, query.stage), application_state.current()
    with service.database.catalog().begin() as connection:
        since, classes = knows_images_until(connection, version), load_model_version(connection, version).classes
        new_images = count_new_images(connection, since, nightly_rules(service.settings), classes)
    return jsonify(new_images.total)


@api.post(
    "/finetune",
    responses={202: StartedRun, 404: Problem, 409: Problem},
    openapi_extensions={"requestBody": body_of(FinetuneBody)},
)
@requires("admin")
def post_finetune() -> tuple[Response, int, dict[str, str]]:
    """Start a run in Airflow that trains a model version's last layers further, from a JSON object or a form."""
    body = read_body(FinetuneBody)
    airflow = airflow_runs.current()
    version = find_version(body.model_name, body.stage)
    _demand_layers(version, body.variables)
    conf = {
        "model_version": version,
        "layers": body.variables,
        "epochs": body.epochs,
        "requested_by": actor_name(current_account()),
    }
    run = airflow.trigger(_FINETUNE, conf)
    return jsonify(asdict(run)), HTTPStatus.ACCEPTED, {"Location": run.url}


def _demand_layers(version: int, layers: int) -> None:
    """Refuse more layers than the version's backbone has. One that was not made here is refused by the training."""
    with application_state.current().database.catalog().begin() as connection:
        tunable = count_tunable_layers(connection, version)
    if tunable is not None and layers > tunable:
        raise ProblemError(422, "invalid-request", f"variables: expected 1 to {tunable} for this model, got {layers}")


def _percent(share: float) -> float:
    return round(100 * share, 2)
