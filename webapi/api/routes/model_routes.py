"""List model versions, and change the version in production."""

from datetime import datetime
from typing import Annotated, Literal

from flask import Response, jsonify
from pydantic import BaseModel, BeforeValidator, Field, RootModel, StrictBool

from ml.app import Workspace
from ml.evaluation import promotion
from ml.reporting.inventory import ModelSummary, list_models
from webapi import application_state
from webapi.access.authentication import current_actor, requires
from webapi.api.parameters import Strict
from webapi.api.percent import to_percent
from webapi.api.problem_answers import Problem, new_api
from webapi.application_state import current_workspace

api = new_api("models", __name__, "models")

_REASON = "requested through the API"


def _check_true(value: object) -> object:
    """Accept only true: in Python, 1 equals true."""
    if value is not True:
        raise ValueError("expected true")
    return value


_Yes = Annotated[Literal[True], BeforeValidator(_check_true)]


class ModelData(BaseModel):
    """A model version. `accuracy` is the latest on the deciding part of the evaluation set, in percent."""

    version: int
    alias: Literal["production"] | None
    served: StrictBool = Field(description="At least one process of the service serves it")
    load_error: str | None = Field(description="Why a process of the service cannot load it, if it should serve it")
    verdict: str
    reasons: list[str] = Field(description="Reasons for the verdict")
    accuracy: float | None
    snapshot: int | None = Field(description="Snapshot that it was trained on; null if it was trained elsewhere")
    registered_at: datetime


class Models(RootModel[list[ModelData]]):
    """Model versions, newest first."""


class Choose(Strict):
    """Put a version into production."""

    version: int = Field(ge=1, le=2**31 - 1, strict=True)


class RollBack(Strict):
    """Put the former production version back into production, and hold automatic promotion."""

    rollback: _Yes


class Release(Strict):
    """Allow automatic promotion again."""

    release: _Yes


class UpdateBody(RootModel[Choose | RollBack | Release]):
    """One of the three updates."""


class Production(BaseModel):
    """The version in production now, and whether a rollback holds automatic promotion."""

    version: int | None
    is_promotion_held: StrictBool


@api.get("/models", responses={200: Models})
@requires("admin")
def get_models() -> Response:
    """List the registered versions, with the one in production and those that are served."""
    return jsonify([_describe(model) for model in list_models(current_workspace())])


@api.post("/model/update", responses={200: Production, 404: Problem, 409: Problem})
@requires("admin")
def post_model_update(body: UpdateBody) -> Response:
    """Put a version into production, roll back, or release a hold. A version that does not load is refused.

    The service serves the new version within seconds.
    """
    workspace = current_workspace()
    _update(workspace, body.root, current_actor())
    application_state.current().models.poll_now()
    held = promotion.is_promotion_held(workspace.catalog)
    return jsonify(version=workspace.registry.champion(), is_promotion_held=held)


def _update(workspace: Workspace, update: Choose | RollBack | Release, actor: str) -> None:
    match update:
        case Choose():
            promotion.promote_by_hand(workspace, update.version, actor=actor, reason=_REASON)
        case RollBack():
            promotion.roll_back(workspace, actor=actor, reason=_REASON)
        case Release():
            promotion.release_promotion(workspace, actor=actor, reason=_REASON)


def _describe(model: ModelSummary) -> dict[str, object]:
    return {
        "version": model.version,
        "alias": "production" if model.is_champion else None,
        "served": model.is_served,
        "load_error": model.load_error,
        "verdict": model.verdict,
        "reasons": model.reasons,
        "accuracy": None if model.main_figure is None else to_percent(model.main_figure),
        "snapshot": model.snapshot_id,
        "registered_at": model.registered_at.isoformat(),
    }
