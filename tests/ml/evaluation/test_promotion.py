"""One version is in production at a time, and moves there only from the one that the decision was made against."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from ml.app import Workspace
from ml.catalog.database import Catalog
from ml.catalog.locks import Lock
from ml.catalog.models import journal
from ml.catalog.models.journal import Move
from ml.errors import PromotionError, PromotionHeldError, StaleChampionError
from ml.evaluation import promotion
from ml.registry.mlflow_registry import Registry
from ml.settings import Settings


@pytest.fixture
def registered(settings: Settings, catalog: Catalog, registry: Registry, bundle: Path) -> Workspace:
    """Three versions; none is in production."""
    for attempt_id in (1, 2, 3):
        with registry.start_run(attempt_id) as run:
            run.log_model(bundle)
        registry.register(run.mlflow_run_id, {})
    return Workspace(settings, catalog, registry)


@pytest.fixture
def serving(registered: Workspace) -> Workspace:
    """The first version is in production."""
    put(registered, 1, None)
    return registered


def put(workspace: Workspace, version: int, expected_current: int | None) -> None:
    promotion.promote(workspace, version, expected_current=expected_current, actor="tester", reason="Because.")


def moves(workspace: Workspace) -> list[tuple[str, int | None, int | None, bool]]:
    """All rows of the journal, oldest first: kind, from, to, whether it was completed."""
    with workspace.catalog.begin() as connection:
        rows = connection.execute(
            sa.text("SELECT kind, from_version, to_version, completed_at FROM training.promotions ORDER BY id")
        )
        return [(row.kind, row.from_version, row.to_version, row.completed_at is not None) for row in rows]


@pytest.mark.parametrize("expected_current", [None, 2, 3])
@pytest.mark.parametrize("promote", [promotion.promote, promotion.promote_automatically])
def test_a_decision_made_against_another_champion_moves_nothing(
    serving: Workspace, promote: object, expected_current: int | None
) -> None:
    before = moves(serving)
    with pytest.raises(StaleChampionError, match=rf"expected version {expected_current} there, found 1\. Compare"):
        promote(serving, 3, expected_current=expected_current, actor="tester", reason="Because.")  # type: ignore[operator]
    assert serving.registry.champion() == 1
    assert moves(serving) == before
    put(serving, 3, 1)
    assert serving.registry.champion() == 3


def test_a_decision_made_against_a_champion_that_is_gone_moves_nothing(registered: Workspace) -> None:
    with pytest.raises(StaleChampionError, match="found None"):
        put(registered, 2, 1)
    assert (registered.registry.champion(), moves(registered)) == (None, [])


def test_a_decision_is_stale_after_a_move_by_hand_in_mlflow_too(serving: Workspace) -> None:
    serving.registry.set_champion(2)
    with pytest.raises(StaleChampionError, match="found 2"):
        put(serving, 3, 1)
    assert serving.registry.champion() == 2
    assert moves(serving)[-1] == ("external", 1, 2, True)


@pytest.mark.parametrize("move", ["by hand", "back"])
def test_what_a_person_chose_is_stale_where_the_champion_changed_on_the_way(
    serving: Workspace, monkeypatch: pytest.MonkeyPatch, move: str
) -> None:
    put(serving, 2, 1)
    monkeypatch.setattr(promotion, "note_external_move", lambda _: 2)
    monkeypatch.setattr(promotion, "remember_version", lambda *_: None)
    monkeypatch.setattr(promotion, "load_version", lambda *_: serving.registry.set_champion(3))
    if move == "back":
        serving.registry.set_champion(3)
    with pytest.raises(StaleChampionError, match="expected version 2 there, found 3"):
        if move == "by hand":
            promotion.promote_by_hand(serving, 1, actor="tester", reason="Because.")
        else:
            promotion.roll_back(serving, actor="tester", reason="Because.")
    assert serving.registry.champion() == 3


@pytest.mark.parametrize("expected_current", [None, 1, 2])
def test_a_version_that_is_there_already_is_left_alone(serving: Workspace, expected_current: int | None) -> None:
    put(serving, 1, expected_current)
    assert moves(serving) == [("promotion", None, 1, True)]


def test_a_move_that_failed_in_mlflow_stays_an_intent_and_is_no_promotion(
    serving: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(serving.registry, "set_champion", fail)
        with pytest.raises(ConnectionError):
            put(serving, 2, 1)
    assert moves(serving)[-1] == ("promotion", 1, 2, False)
    with serving.catalog.begin() as connection:
        assert journal.versions_ever_in_production(connection) == [1]
    put(serving, 2, 1)
    assert moves(serving)[-1] == ("promotion", 1, 2, True)


@pytest.mark.parametrize(("intended", "by_hand"), [(2, 3), (3, 2)])
def test_an_alias_moved_by_hand_is_not_taken_for_a_promotion_that_died(
    serving: Workspace, intended: int, by_hand: int
) -> None:
    with serving.catalog.begin() as connection:
        journal.write_intent(connection, "promotion", 1, intended, "retrain", "It is better.")
    serving.registry.set_champion(by_hand)
    assert promotion.note_external_move(serving) == by_hand
    assert moves(serving)[-2:] == [("promotion", 1, intended, False), ("external", 1, by_hand, True)]


def test_a_rollback_holds_what_the_gate_says_until_its_release_and_no_person(serving: Workspace) -> None:
    put(serving, 2, 1)
    assert promotion.roll_back(serving, actor="tester", reason="Because.") == 1
    with pytest.raises(PromotionHeldError, match="mycoflow release"):
        promotion.promote_automatically(serving, 3, expected_current=1, actor="retrain", reason="Because.")
    assert serving.registry.champion() == 1
    put(serving, 3, 1)
    promotion.release_promotion(serving, actor="tester", reason="Because.")
    promotion.promote_automatically(serving, 2, expected_current=3, actor="retrain", reason="Because.")
    assert serving.registry.champion() == 2


def test_a_rollback_that_ends_while_an_automatic_promotion_waits_holds_it(
    serving: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(serving, 2, 1)
    put(serving, 1, 2)
    lock = Catalog.lock

    def roll_back_first(catalog: Catalog, wanted: Lock) -> object:
        monkeypatch.setattr(Catalog, "lock", lock)
        promotion.roll_back(serving, actor="tester", reason="Bad.")  # from 1 to 2: the champion that was expected
        return lock(catalog, wanted)

    monkeypatch.setattr(Catalog, "lock", roll_back_first)
    with pytest.raises(PromotionHeldError):
        promotion.promote_automatically(serving, 3, expected_current=2, actor="retrain", reason="Better.")
    assert serving.registry.champion() == 2


def test_rollbacks_go_back_one_promotion_after_the_other_and_end_at_the_first(serving: Workspace) -> None:
    put(serving, 2, 1)
    put(serving, 3, 2)
    assert [promotion.roll_back(serving, actor="tester", reason="Because.") for _ in range(2)] == [2, 1]
    with pytest.raises(PromotionError, match="in production now: 1"):
        promotion.roll_back(serving, actor="tester", reason="Because.")
    assert serving.registry.champion() == 1


def test_rollbacks_follow_the_order_of_the_promotions_not_of_the_numbers(serving: Workspace) -> None:
    put(serving, 3, 1)
    put(serving, 2, 3)
    assert [promotion.roll_back(serving, actor="tester", reason="Because.") for _ in range(2)] == [3, 1]


def test_a_version_that_came_twice_goes_back_to_what_was_there_before_the_last_time(serving: Workspace) -> None:
    put(serving, 2, 1)
    put(serving, 3, 2)
    put(serving, 2, 3)
    assert promotion.roll_back(serving, actor="tester", reason="Because.") == 3


def test_a_move_is_completed_and_no_other_with_it(registered: Workspace) -> None:
    with registered.catalog.begin() as connection:
        first, *_ = [journal.write_intent(connection, "promotion", None, version, "tester", "") for version in (1, 2)]
        assert journal.complete_move(connection, first).to_version == 1
    assert moves(registered) == [("promotion", None, 1, True), ("promotion", None, 2, False)]


@pytest.mark.parametrize("kind", ["promotion", "rollback", "external"])
def test_a_version_was_in_production_however_it_came_there(registered: Workspace, kind: str) -> None:
    with registered.catalog.begin() as connection:
        for version in (3, 2):
            journal.complete_move(connection, journal.write_intent(connection, kind, None, version, "tester", ""))
        journal.complete_move(connection, journal.write_intent(connection, "release", None, None, "tester", ""))
        assert journal.versions_ever_in_production(connection) == [2, 3]


def test_the_journal_tells_who_moved_what_and_why_newest_first(serving: Workspace) -> None:
    put(serving, 2, 1)
    promotion.release_promotion(serving, actor="account:7", reason="Go on.")
    with serving.catalog.begin() as connection:
        journal.write_intent(connection, "promotion", 2, 3, "tester", "It died.")
        newest, before = journal.recent_moves(connection, 2)
        last, intended = journal.last_move(connection), journal.last_move(connection, completed_only=False)
    assert (newest.kind, newest.to_version, newest.actor, newest.reason) == ("release", None, "account:7", "Go on.")
    assert (before.from_version, before.to_version, before.is_completed) == (1, 2, True)
    assert newest.moved_at > before.moved_at
    assert isinstance(last, Move)
    assert isinstance(intended, Move)
    assert (last.to_version, intended.to_version, intended.is_completed) == (2, 3, False)
