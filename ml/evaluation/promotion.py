"""Promotion: move the alias `production`, and record every move in the journal. No other code moves it."""

from sqlalchemy import Connection

from ml.app import Workspace, demand_registered_model, demand_same_run, load_version, remember_version
from ml.catalog.database import Catalog
from ml.catalog.locks import PROMOTION
from ml.catalog.logs.outbox import raise_alert
from ml.catalog.models import journal
from ml.errors import PromotionError, PromotionHeldError, StaleChampionError, UnknownVersionError
from ml.evaluation import champion_notices


def promote(workspace: Workspace, version: int, *, expected_current: int | None, actor: str, reason: str) -> None:
    """Put a version into production. Do nothing if it is in production already.

    Args:
        version: a registered model version.
        expected_current: the champion at the time of the decision; None if there was none.
        actor, reason: for the journal.
    Raises: StaleChampionError, another version went into production meanwhile.
    """
    _move(workspace, "promotion", version, expected_current, actor, reason)


def promote_automatically(
    workspace: Workspace, version: int, *, expected_current: int | None, actor: str, reason: str
) -> None:
    """Put a version into production that the gate decided to promote.

    Raises: PromotionHeldError, a rollback holds automatic promotion; StaleChampionError as above.
    """
    _move(workspace, "promotion", version, expected_current, actor, reason, is_automatic=True)


def promote_by_hand(workspace: Workspace, version: int, *, actor: str, reason: str) -> None:
    """Put a version into production that a person chose. It must load and answer.

    Raises: UnknownVersionError, ModelLoadError, StaleChampionError.
    """
    remember_version(workspace, version)
    load_version(workspace, version)
    current = note_external_move(workspace)
    promote(workspace, version, expected_current=current, actor=actor, reason=reason)


def roll_back(workspace: Workspace, *, actor: str, reason: str) -> int:
    """Put the previous version back into production, and hold automatic promotion until it is released.

    Returns: the version now in production.
    Raises: PromotionError, there is no previous version, or it was deleted in MLflow.
    """
    current = note_external_move(workspace)
    with workspace.catalog.begin() as connection:
        before = None if current is None else journal.version_before(connection, current)
    if before is None:
        raise PromotionError(
            f"Expected an earlier version in production to go back to, found none (in production now: {current}). "
            "Choose one with `mycoflow promote VERSION`."
        )
    _demand_registered(workspace, before)
    _move(workspace, "rollback", before, current, actor, reason)
    return before


def find_version_before(workspace: Workspace) -> int | None:
    """Return the version that a rollback would put back; None if there is none."""
    current = workspace.registry.champion()
    with workspace.catalog.begin() as connection:
        return None if current is None else journal.version_before(connection, current)


def release_promotion(workspace: Workspace, *, actor: str, reason: str) -> None:
    """Allow automatic promotion again after a rollback."""
    with workspace.catalog.lock(PROMOTION), workspace.catalog.begin() as connection:
        journal.complete_move(connection, journal.write_intent(connection, "release", None, None, actor, reason))


def is_promotion_held(catalog: Catalog) -> bool:
    """Whether a rollback holds automatic promotion."""
    with catalog.begin() as connection:
        return journal.is_held(connection)


def note_external_move(workspace: Workspace) -> int | None:
    """Record a move of the alias that the journal lacks: by hand in MLflow, or by a Mycoflow process that then died.

    Returns: the version in production; None if there is none.
    Raises: RegistryStateError, the registered model was renamed or deleted, the version in production is the model of
        another run than the catalog says, or this is another MLflow.
    """
    with workspace.catalog.lock(PROMOTION):
        return _reconcile(workspace)


def _move(
    workspace: Workspace,
    kind: str,
    version: int,
    expected_current: int | None,
    actor: str,
    reason: str,
    is_automatic: bool = False,
) -> None:
    with workspace.catalog.lock(PROMOTION):
        current = _reconcile(workspace)
        if current == version:
            return
        if is_automatic and is_promotion_held(workspace.catalog):  # under the lock: a rollback may have just ended
            raise PromotionHeldError(
                f"Version {version} was not promoted, because a rollback holds automatic promotion. "
                f"Release it with `mycoflow release`, or choose with `mycoflow promote {version}`."
            )
        if current != expected_current:
            raise StaleChampionError(
                f"Version {version} was not put into production: expected version {expected_current} there, "
                f"found {current}. Compare them again, then repeat."
            )
        # Commit the intent before the alias moves: after a crash between the two, the journal explains the move.
        with workspace.catalog.begin() as connection:
            move_id = journal.write_intent(connection, kind, current, version, actor, reason)
        workspace.registry.set_champion(version)
        with workspace.catalog.begin() as connection:
            _complete(connection, move_id)


def _demand_registered(workspace: Workspace, version: int) -> None:
    try:
        demand_same_run(workspace, version)
    except UnknownVersionError as error:
        raise PromotionError(
            f"Expected to go back to version {version}, which was deleted in MLflow. `mycoflow models` lists the "
            "versions; choose one with `mycoflow promote VERSION`."
        ) from error


def _reconcile(workspace: Workspace) -> int | None:
    current = workspace.registry.champion()
    with workspace.catalog.begin() as connection:
        known = journal.last_move(connection)
    if current is not None:
        demand_same_run(workspace, current)
    elif known is not None and known.to_version is not None:
        demand_registered_model(workspace, known.to_version)
    with workspace.catalog.begin() as connection:
        if current == (known.to_version if known else None):
            return current
        intent = journal.last_move(connection, completed_only=False)
        if intent is not None and not intent.is_completed and intent.to_version == current:
            _complete(connection, intent.id)
        else:
            before = known.to_version if known else None
            move_id = journal.write_intent(
                connection, "external", before, current, "unknown", "the alias was moved in MLflow"
            )
            _complete(connection, move_id)
    return current


def _complete(connection: Connection, move_id: int) -> None:
    """Complete the move in the journal and raise its alert, in one transaction."""
    raise_alert(connection, *champion_notices.moved(journal.complete_move(connection, move_id)))
