"""Promote the version of a verdict."""

import logging
from dataclasses import asdict

from ml.app import Workspace
from ml.catalog.logs.events import write_event
from ml.catalog.models import journal, verdicts
from ml.catalog.models.verdicts import StoredVerdict
from ml.errors import PromotionHeldError
from ml.evaluation import promotion
from ml.evaluation.judging import judge_challenger, record_verdict

logger = logging.getLogger(__name__)


def apply_verdict(workspace: Workspace, attempt_id: int, verdict: StoredVerdict, approved_by: str | None) -> None:
    """Promote the version of a verdict that decided so. Do nothing if the version was in production before.

    If a rollback holds automatic promotion, promote only a version that a person approved. If another version went into
    production after the verdict, let the gate compare with that version first.

    Args: approved_by, the person who approved, for the journal; None if no approval is required.
    Raises: StaleChampionError, the champion changed during the promotion; try again.
    """
    if _was_promoted(workspace, verdict.model_version):
        return
    verdict = _judge_again_if_stale(workspace, attempt_id, verdict)
    if verdict.decision != "promote":
        return
    promote = promotion.promote_automatically if approved_by is None else promotion.promote
    try:
        promote(
            workspace,
            verdict.model_version,
            expected_current=verdict.champion_version,
            actor=approved_by or "retrain",
            reason=" ".join(verdict.reasons),
        )
    except PromotionHeldError as held:
        logger.warning("%s", held)


def _was_promoted(workspace: Workspace, version: int) -> bool:
    """Whether the version was in production at any time: then an earlier, interrupted run promoted it already."""
    promotion.note_external_move(workspace)
    with workspace.catalog.begin() as connection:
        return version in journal.versions_ever_in_production(connection)


def _judge_again_if_stale(workspace: Workspace, attempt_id: int, verdict: StoredVerdict) -> StoredVerdict:
    champion = promotion.note_external_move(workspace)
    if champion in (verdict.champion_version, verdict.model_version):
        return verdict
    logger.warning(
        "Version %s went into production after the verdict on version %s. The gate compares again.",
        champion,
        verdict.model_version,
    )
    revised = judge_challenger(workspace, verdict.model_version)
    with workspace.catalog.begin() as connection:
        verdicts.revise_verdict(connection, attempt_id, revised)
        write_event(connection, "verdict.revised", "retrain", {"before": asdict(verdict), "after": asdict(revised)})
    record_verdict(workspace, revised)
    return revised
