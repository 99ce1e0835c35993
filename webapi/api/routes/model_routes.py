"""List model versions, change the version in production, and say what a challenger does in shadow."""

from datetime import datetime
from typing import Annotated, Literal

from flask import Response, jsonify
from pydantic import BaseModel, BeforeValidator, Field, RootModel, StrictBool

from ml.app import Workspace
from ml.evaluation import promotion
from ml.evaluation.shadowing.shadow_figures import Judged, ShadowFigures, Share, read_figures
from ml.reporting.inventory import ModelSummary, list_models
from webapi import application_state
from webapi.access.authentication import current_actor, requires
from webapi.api.parameters import Strict
from webapi.api.percent import to_percent
from webapi.api.problem_answers import Problem, new_api
from webapi.application_state import current_catalog, current_workspace
from webapi.problems import ProblemError

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


class ShadowPath(BaseModel):
    """A challenger's version."""

    version: int = Field(ge=1, le=2**31 - 1)


class ShareData(BaseModel):
    """A share of the uploads in percent, and its 95 % interval."""

    count: int
    of: int
    percent: float
    low: float
    high: float


class JudgedData(BaseModel):
    """How many photos people have named, and about how many percent of them each model is right."""

    photos: int
    champion: float
    challenger: float
    p_value: float = Field(description="How probable a difference as large as this is by chance")


class ChangeData(BaseModel):
    """Answers that change. A class is null if the model found none."""

    champion: str | None
    challenger: str | None
    photos: int


class ShadowAnswer(BaseModel):
    """What a challenger answered to the uploads of the last days, beside the champion."""

    version: int
    champion: int = Field(description="The version that it is compared with")
    started_at: datetime
    scored_at: datetime | None = Field(description="End of the last scoring; null before the first one ended")
    problem: str | None = Field(description="Why the last scoring failed")
    photos: int
    different: ShareData | None = Field(description="Uploads on which the two models differ; null without uploads")
    fresh_different: ShareData | None = Field(description="The same, of those from which no training learned")
    mean_confidence: dict[Literal["champion", "challenger"], float | None]
    novel: dict[Literal["champion", "challenger"], int | None] = Field(
        description="Photos that seem to show none of the known classes; null if the model does not measure it"
    )
    changes: list[ChangeData] = Field(description="The most frequent ones first, up to 100")
    of_sample: JudgedData | None = Field(description="On the random sample that experts were asked about")
    of_named: JudgedData | None = Field(description="On all that people have named, which favours the challenger")


@api.get("/models", responses={200: Models})
@requires("admin")
def get_models() -> Response:
    """List the registered versions, with the one in production and those that are served."""
    return jsonify([_describe(model) for model in list_models(current_workspace())])


@api.get("/shadows/<int:version>", responses={200: ShadowAnswer, 404: Problem})
@requires("admin")
def get_shadow(path: ShadowPath) -> Response:
    """Say on which uploads a challenger in shadow differs from the champion, and which of them is right.

    Raises: 404, no such version, or it was never compared on uploads.
    """
    service = application_state.current()
    figures = read_figures(current_catalog(), service.settings.task, path.version)
    if figures is None:
        detail = f"Version {path.version} was not compared on uploads. `mycoflow shadow {path.version}` compares it."
        raise ProblemError(404, "not-in-shadow", detail)
    return jsonify(_describe_shadow(figures).model_dump(mode="json"))


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


def _describe_shadow(figures: ShadowFigures) -> ShadowAnswer:
    shadow, counts = figures.shadow, figures.counts
    confidences = {"champion": counts.champion_confidence, "challenger": counts.challenger_confidence}
    return ShadowAnswer(
        version=shadow.challenger_version,
        champion=shadow.champion_version,
        started_at=shadow.started_at,
        scored_at=shadow.scored_at,
        problem=shadow.problem,
        photos=counts.photos,
        different=_describe_share(counts.different, counts.photos, figures.different),
        fresh_different=_describe_share(counts.fresh_different, counts.fresh, figures.fresh_different),
        mean_confidence={name: None if each is None else to_percent(each) for name, each in confidences.items()},  # type: ignore[misc]
        novel={"champion": counts.champion_novel, "challenger": counts.challenger_novel},
        changes=[
            ChangeData(champion=each.champion_class, challenger=each.challenger_class, photos=each.photos)
            for each in figures.changes
        ],
        of_sample=_describe_judged(figures.of_sample),
        of_named=_describe_judged(figures.of_named),
    )


def _describe_share(count: int, of: int, share: Share | None) -> ShareData | None:
    if share is None:
        return None
    percent, low, high = map(to_percent, (share.share, share.low, share.high))
    return ShareData(count=count, of=of, percent=percent, low=low, high=high)


def _describe_judged(judged: Judged | None) -> JudgedData | None:
    if judged is None:
        return None
    return JudgedData(
        photos=judged.photos,
        champion=to_percent(judged.champion),
        challenger=to_percent(judged.challenger),
        p_value=judged.p_value,
    )


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
