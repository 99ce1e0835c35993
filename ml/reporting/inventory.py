"""The list of registered versions with their figures, and the deployment's state in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from ml.app import Workspace, demand_registered_model
from ml.backbones.served_backbone import find_base_backbone
from ml.catalog.images.photo_vectors import count_vectors
from ml.catalog.models import evaluations, journal, model_versions
from ml.catalog.models.backbone_records import StoredBackbone, find_backbone_of_version
from ml.catalog.models.evaluations import MainFigure
from ml.catalog.models.served_versions import living_processes
from ml.catalog.models.verdicts import StoredVerdict, verdicts_by_version
from ml.catalog.vector_extension import find_extension
from ml.confidence.estimation import share_of
from ml.figures import words_of
from ml.reporting.overview import describe_catalog
from ml.reporting.serving_notices import describe_serving


@dataclass(frozen=True)
class ModelSummary:
    """One line of the list of models.

    Args:
        is_champion: whether it is in production.
        is_served: whether a process of the service serves it.
        load_error: why a process could not load it.
        reasons: the reasons and warnings of the verdict.
        main_figure: the latest one on the deciding part of the evaluation set, 0 to 1; None if it was not scored.
        interval: its 95 % interval, as if photos were independent; None where it is no share of right answers.
    """

    version: int
    is_champion: bool
    is_served: bool
    load_error: str | None
    verdict: str
    reasons: list[str]
    main_figure: float | None
    interval: tuple[float, float] | None
    snapshot_id: int | None
    registered_at: datetime


def list_models(workspace: Workspace) -> list[ModelSummary]:
    """List the registered versions, newest first.

    Raises: RegistryStateError, MLflow has no version, although one was in production.
    """
    with workspace.catalog.begin() as connection:
        figures = evaluations.latest_main_figures(connection)
        snapshot_ids = model_versions.snapshot_ids(connection)
        verdicts = verdicts_by_version(connection)
        serving = living_processes(connection)
        last = journal.last_move(connection)
    registered = workspace.registry.versions()
    if not registered and last is not None and last.to_version is not None:
        demand_registered_model(workspace, last.to_version)
    served = {process.version for process in serving}
    errors = {process.refused_version: process.load_error for process in serving}
    return [
        ModelSummary(
            version=each.version,
            is_champion=each.is_champion,
            is_served=each.version in served,
            load_error=errors.get(each.version),
            verdict=each.tags.get("verdict", ""),
            reasons=_reasons(verdicts.get(each.version), each.tags),
            main_figure=figures[each.version].value if each.version in figures else None,
            interval=_interval(workspace, figures.get(each.version)),
            snapshot_id=snapshot_ids.get(each.version),
            registered_at=datetime.fromtimestamp(each.created_at_ms / 1000, UTC),
        )
        for each in registered
    ]


def _interval(workspace: Workspace, figure: MainFigure | None) -> tuple[float, float] | None:
    if figure is None or not workspace.task.counts_right_answers:
        return None
    share = share_of(round(figure.value * figure.image_count), figure.image_count)
    return share.low, share.high


def _reasons(verdict: StoredVerdict | None, tags: Mapping[str, str]) -> list[str]:
    if verdict is not None:
        return [*verdict.reasons, *verdict.warnings]
    return list(filter(None, [tags.get("verdict_reasons")]))  # a run from outside Mycoflow belongs to no attempt


def describe_state(workspace: Workspace) -> dict[str, str]:
    """Describe the version in production, the service, the pool and the last nightly check, in words for a person."""
    champion = next((model for model in list_models(workspace) if model.is_champion), None)
    main_figure = words_of(workspace.task.main_figure)
    if champion is None:
        in_production = "no model yet; `mycoflow retrain`"
    else:
        measured = "" if champion.main_figure is None else f", {main_figure} {champion.main_figure:.1%}"
        in_production = f"version {champion.version}{measured}"
    with workspace.catalog.begin() as connection:
        backbone = None if champion is None else find_backbone_of_version(connection, champion.version)
        version = None if champion is None else champion.version
        served = describe_serving(version, living_processes(connection))
        return {
            "in production": in_production,
            "service": served,
            **_describe_backbone(backbone),
            "similar photos": _describe_similar(connection, version),
            **describe_catalog(connection, main_figure),
        }


def _describe_backbone(backbone: StoredBackbone | None) -> dict[str, str]:
    if backbone is None:
        return {}  # no champion, or one from outside Mycoflow
    reason = "" if backbone.parity is None else f"; {backbone.parity['reason']}"
    made = f"{backbone.backbone}, {backbone.weights_recipe}, {backbone.image_size} px, {backbone.precision}"
    return {"its backbone": made + reason}


def _describe_similar(connection: sa.Connection, version: int | None) -> str:
    if find_extension(connection) is None:
        return (
            "not shown: the database has no pgvector 0.8 or later. Install it, run `CREATE EXTENSION vector` or "
            "`ALTER EXTENSION vector UPDATE` as a superuser of the database, then `mycoflow monitor`"
        )
    known = None if version is None else model_versions.find_model_version(connection, version)
    count = 0 if known is None else count_vectors(connection, find_base_backbone(connection, known.backbone_id))
    return f"found among {count} photos" if count else "not indexed yet; `mycoflow monitor` does it"
