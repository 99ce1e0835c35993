"""Review: what is in a queue, what a decision does, who was first, and what undoing restores."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account, erase_account
from ml.catalog.annotations import ONE_CLASS, Annotation
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.logs.results import save_prediction, save_result
from ml.catalog.models.attempts import start_attempt
from ml.catalog.models.cross_fitted_answers import Suspicion, mark_suspected, save_cross_fitted
from ml.catalog.reviews.review_queues import Queue, QueueFilter, query_queue
from ml.catalog.tables import (
    accounts,
    annotations,
    events,
    items,
    review_decisions,
    review_entries,
    snapshot_items,
    snapshots,
)
from ml.data.feedback import Opinion, find_prediction, give_feedback
from ml.data.membership import Arrival, exclude, harvest, read_placements, wait
from ml.data.reviewing.deciding import Decision, decide, undo
from ml.data.reviewing.queue_reading import Shown, read_counts, read_queue
from ml.errors import ForbiddenError, LabelError, ReviewConflictError, ReviewError, UnknownImageError
from tests.ml.catalog.test_query_plans import plans_of, scanned_whole
from tests.ml.image_rows import add_item

AddImages = Callable[..., list[str]]


def sha256_of(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
def people(catalog: Catalog) -> dict[str, Account]:
    with catalog.begin() as connection:
        found = {}
        for login, role in {"ada": "expert", "bob": "expert", "carol": "admin", "dan": "user"}.items():
            row = sa.insert(accounts).values(login=login, role=role, password_hash="none")
            found[login] = Account(connection.execute(row.returning(accounts.c.id)).scalar_one(), login, role)
    return found


@dataclass
class Desk:
    """Fills queues, reads them and decides."""

    catalog: Catalog
    people: dict[str, Account]

    def predict(self, number: int, margin: float, top: str = "a") -> int:
        with self.catalog.begin() as connection:
            if not connection.scalar(sa.select(sa.exists().where(items.c.id == sha256_of(number)))):
                add_item(connection, sha256_of(number))
            high = (1 + margin) / 2
            probabilities = np.float32([high, 1 - high] if top == "a" else [1 - high, high])
            result = save_result(connection, sha256_of(number), 1, Answer(top, high, margin, probabilities))
            return save_prediction(connection, result.id, self.people["dan"].id, False)

    def reject_answer(self, prediction_id: int, corrected: str | None = None, login: str = "dan") -> None:
        with self.catalog.begin() as connection:
            prediction = find_prediction(connection, prediction_id)
            assert prediction is not None
            said = None if corrected is None else Annotation((corrected,))
            opinion = Opinion("nok", prediction.top_class, said)
            give_feedback(connection, prediction, self.people[login], opinion, False, True)

    def let_wait(self, numbers: range, label: str = "a") -> list[str]:
        ids = [sha256_of(number) for number in numbers]
        arrivals = [
            Arrival(ItemRecord("source", ImageRecord(each, "image/png", 32, 32, 100)), Annotation((label,)))
            for each in ids
        ]
        with self.catalog.begin() as connection:
            wait(connection, arrivals, "source")
        return ids

    def show(self, queue: Queue, **wanted: object) -> list[Shown]:
        return read_queue(self.catalog, QueueFilter(queue, **wanted), 50, None).shown  # type: ignore[arg-type]

    def ids(self, queue: Queue) -> list[str]:
        return [each.entry.item_id for each in self.show(queue)]

    def decide(self, login: str, *decisions: Decision) -> dict[str, int]:
        outcome = decide(self.catalog, self.people[login], decisions, False, ONE_CLASS)
        outcome.demand_any()
        return outcome.decided

    def placements(self, *item_ids: str) -> dict[str, dict[str, object]]:
        with self.catalog.begin() as connection:
            return read_placements(connection, item_ids)


@pytest.fixture
def desk(catalog: Catalog, people: dict[str, Account]) -> Desk:
    return Desk(catalog, people)


def certify(shown: Shown, queue: Queue, label: str) -> Decision:
    return Decision(shown.entry.item_id, queue, shown.seen, "certify", label)


def test_uncertain_answers_come_smallest_margin_first_until_somebody_decides(desk: Desk) -> None:
    for number, margin in enumerate((0.5, 0.1, 0.9, 0.3)):
        desk.predict(number, margin, top="b" if number == 2 else "a")
    assert desk.ids("uncertain") == [sha256_of(number) for number in (1, 3, 0, 2)]
    assert [each.entry.item_id for each in desk.show("uncertain", class_name="b")] == [sha256_of(2)]
    page = read_queue(desk.catalog, QueueFilter("uncertain"), 3, None)
    assert page.counts == {"a": 3, "b": 1}
    rest = read_queue(desk.catalog, QueueFilter("uncertain"), 3, page.next_cursor)
    assert [each.entry.item_id for each in rest.shown] == [sha256_of(2)]
    assert rest.next_cursor is None
    with desk.catalog.begin() as connection:
        harvest(connection, sha256_of(0), Annotation(("a",)), 1)
        exclude(connection, sha256_of(3), "test")
    assert desk.ids("uncertain") == [sha256_of(1), sha256_of(2)]


def test_the_latest_answer_to_a_photo_counts(desk: Desk) -> None:
    desk.predict(1, 0.1)
    with desk.catalog.begin() as connection:
        save_result(connection, sha256_of(1), 2, Answer("b", 0.9, 0.8, np.float32([0.1, 0.9])))
    (shown,) = desk.show("uncertain")
    assert (shown.entry.class_name, shown.entry.model_version) == ("b", 2)


def test_a_rejected_answer_shows_prediction_who_when_and_what_it_is_newest_first(desk: Desk) -> None:
    first, second = desk.predict(1, 0.9), desk.predict(2, 0.8)
    desk.reject_answer(first, "b")
    desk.reject_answer(second)
    newest, older = desk.show("mispredicted")
    assert (newest.entry.item_id, newest.entry.corrected_label) == (sha256_of(2), None)
    assert (older.entry.class_name, older.entry.corrected_label, older.entry.login) == ("a", "b", "dan")
    assert older.entry.said_at is not None
    assert older.entry.confidence == pytest.approx(0.95)
    assert (newest.entry.proposed, older.entry.proposed) == (None, "b")  # what a person rejected is not proposed
    with desk.catalog.begin() as connection:
        prediction = find_prediction(connection, first)
        assert prediction is not None
        give_feedback(connection, prediction, desk.people["dan"], Opinion("ok", "a", None), False, True)
    assert desk.ids("mispredicted") == [sha256_of(2)]


def test_what_a_source_brought_waits_under_its_label(desk: Desk) -> None:
    waiting = desk.let_wait(range(3))
    assert desk.ids("waiting") == waiting
    assert read_counts(desk.catalog) == {"mispredicted": 0, "waiting": 3, "uncertain": 0, "suspected": 0, "disputed": 0}
    with desk.catalog.begin() as connection:
        exclude(connection, waiting[0], "test")
    assert desk.ids("waiting") == waiting[1:]


@pytest.mark.parametrize("decision", ["certify", "correct", "reject"])
def test_each_decision_has_its_effect_and_undoing_restores_the_former_state_exactly(
    desk: Desk, add_images: AddImages, decision: str
) -> None:
    add_images("b", 1)
    (item_id, _) = desk.let_wait(range(2))
    before, seen = desk.placements(item_id), desk.show("waiting")[0].seen
    label, reason = {"certify": ("a", None), "correct": ("b", None), "reject": (None, "blurred")}[decision]
    made = desk.decide("ada", Decision(item_id, "waiting", seen, decision, label, reason))  # type: ignore[arg-type]
    after = desk.placements(item_id)[item_id]
    if decision == "reject":
        assert after["held_back"] == "excluded"
    else:
        assert (after["class_names"], after["label_origin"], after["held_back"]) == ([label], "confirmed", None)
    assert desk.ids("waiting") == [sha256_of(1)]
    assert undo(desk.catalog, desk.people["ada"], made.values()).undone == list(made.values())
    assert desk.placements(item_id) == before
    assert desk.ids("waiting") == [item_id, sha256_of(1)]
    with desk.catalog.begin() as connection:
        kinds = connection.scalars(sa.select(events.c.kind).order_by(events.c.id)).all()
    assert kinds[-4:] == [
        "image.excluded" if decision == "reject" else "image.confirmed",
        f"review.{decision}",
        "image.restored",
        "review.undone",
    ]


def test_a_decision_about_a_guess_is_undone_with_its_time_in_the_pool_and_its_history(desk: Desk) -> None:
    desk.reject_answer(desk.predict(1, 0.9))
    with desk.catalog.begin() as connection:
        harvest(connection, sha256_of(1), Annotation(("a",)), 1)
    before = desk.placements(sha256_of(1))
    assert before[sha256_of(1)]["entered_pool_at"] is not None
    (shown,) = desk.show("mispredicted")
    made = desk.decide("ada", certify(shown, "mispredicted", "a"))
    assert desk.ids("mispredicted") == []
    undo(desk.catalog, desk.people["ada"], made.values())
    assert desk.placements(sha256_of(1)) == before
    assert desk.ids("mispredicted") == [sha256_of(1)]
    with desk.catalog.begin() as connection:
        said = sa.select(annotations.c.origin, annotations.c.said_by).order_by(annotations.c.id)
        assert [tuple(row) for row in connection.execute(said)] == [
            ("harvested", "version:1"),
            ("confirmed", f"account:{desk.people['ada'].id}"),
            ("harvested", "version:1"),
        ]


def test_guesses_that_yielded_to_a_decision_come_back_when_it_is_undone(desk: Desk, add_images: AddImages) -> None:
    """A certified photo that goes to the evaluation set takes the guesses of its group out of the pool."""
    add_images("a", 1, split="evaluation", part="recent", group="one")
    (guess,) = add_images("a", 1, origin="harvested", group="one")
    (item_id,) = desk.let_wait(range(1))
    with desk.catalog.begin() as connection:
        connection.execute(sa.update(items).where(items.c.id == item_id).values(group_key="one"))
    before = desk.placements(item_id, guess)
    made = desk.decide("ada", certify(desk.show("waiting")[0], "waiting", "a"))
    assert desk.placements(item_id)[item_id]["split"] == "evaluation"
    assert desk.placements(guess)[guess]["held_back"] == "copy"
    undo(desk.catalog, desk.people["ada"], made.values())
    assert desk.placements(item_id, guess) == before


def test_who_was_first_stands_and_the_other_is_told(desk: Desk) -> None:
    desk.let_wait(range(3))
    first, second, third = desk.show("waiting")
    desk.decide("ada", certify(first, "waiting", "a"))
    state = desk.placements(first.entry.item_id)
    rejection = Decision(first.entry.item_id, "waiting", first.seen, "reject", reason="no mushroom")
    with pytest.raises(ReviewConflictError, match=r"ada certified item 00000000 as 'a', \d{4}-\d\d-\d\d"):
        desk.decide("bob", rejection)
    assert desk.placements(first.entry.item_id) == state
    outcome = decide(desk.catalog, desk.people["bob"], [rejection, certify(second, "waiting", "a")], False, ONE_CLASS)
    assert list(outcome.decided) == [second.entry.item_id]
    assert [each.item_id for each in outcome.conflicts] == [first.entry.item_id]
    with desk.catalog.begin() as connection:
        exclude(connection, third.entry.item_id, "somebody else")
    with pytest.raises(ReviewConflictError, match="changed since you saw it"):
        desk.decide("bob", certify(third, "waiting", "a"))


def test_an_undone_decision_is_told_too_and_undone_once(desk: Desk) -> None:
    desk.let_wait(range(1))
    (shown,) = desk.show("waiting")
    made = desk.decide("ada", certify(shown, "waiting", "a"))
    with pytest.raises(ForbiddenError):
        undo(desk.catalog, desk.people["bob"], made.values())
    undo(desk.catalog, desk.people["carol"], made.values())
    with pytest.raises(ReviewConflictError, match="this was undone"):
        undo(desk.catalog, desk.people["ada"], made.values()).demand_any()
    with pytest.raises(ReviewConflictError, match="this was undone"):
        desk.decide("bob", certify(shown, "waiting", "a"))
    desk.decide("bob", certify(desk.show("waiting")[0], "waiting", "a"))


def test_a_decision_is_not_undone_over_a_later_one(desk: Desk, add_images: AddImages) -> None:
    desk.let_wait(range(1))
    made = desk.decide("ada", certify(desk.show("waiting")[0], "waiting", "a"))
    with desk.catalog.begin() as connection:
        exclude(connection, sha256_of(0), "an admin")
    state = desk.placements(sha256_of(0))
    with pytest.raises(ReviewConflictError):
        undo(desk.catalog, desk.people["ada"], made.values()).demand_any()
    assert desk.placements(sha256_of(0)) == state


@pytest.mark.parametrize(
    ("decision", "label", "reason", "error"),
    [
        ("certify", None, None, ReviewError),
        ("correct", "never seen", None, ReviewError),
        ("correct", "", None, LabelError),
        ("reject", None, None, ReviewError),
        ("reject", None, "  ", ReviewError),
        ("reject", "a", "blurred", ReviewError),
        ("reject", None, "x" * 501, ReviewError),
        ("certify", "a", "why", ReviewError),
    ],
)
def test_a_decision_that_says_nothing_usable_is_refused(
    desk: Desk, decision: str, label: str | None, reason: str | None, error: type[Exception]
) -> None:
    desk.let_wait(range(1))
    (shown,) = desk.show("waiting")
    with pytest.raises(error):
        desk.decide("ada", Decision(shown.entry.item_id, "waiting", shown.seen, decision, label, reason))  # type: ignore[arg-type]
    assert desk.ids("waiting") == [sha256_of(0)]


def test_an_unknown_item_is_told_and_nothing_is_decided(desk: Desk) -> None:
    desk.let_wait(range(1))
    (shown,) = desk.show("waiting")
    with pytest.raises(UnknownImageError):
        desk.decide("ada", certify(shown, "waiting", "a"), Decision("f" * 64, "waiting", "0" * 16, "certify", "a"))
    assert desk.ids("waiting") == [sha256_of(0)]


@pytest.fixture
def suspected(desk: Desk, add_images: AddImages) -> list[str]:
    """Two labels that the answers of a training contradict, the second more surely, and one that they do not."""
    ids = add_images("a", 3)
    values = {"cutoff": sa.func.now(), "requested_size": 3, "strategy": "newest", "pool_state": "3"}
    with desk.catalog.begin() as connection:
        stored = sa.insert(snapshots).values(classes=["a", "b"], **values).returning(snapshots.c.id)
        snapshot_id = connection.execute(stored).scalar_one()
        member = {"snapshot_id": snapshot_id, "class_names": ["a"], "label_origin": "curated", "fold": "train"}
        connection.execute(sa.insert(snapshot_items), [member | {"item_id": each} for each in ids])
        attempt_id = start_attempt(connection, "run-1", "test", {}, snapshot_id)
        sure = {ids[0]: [0.3, 0.7], ids[1]: [0.1, 0.9], ids[2]: [0.9, 0.1]}
        save_cross_fitted(connection, attempt_id, {each: np.float32(answer) for each, answer in sure.items()})
        mark_suspected(connection, attempt_id, {ids[0]: Suspicion("b", 0.4), ids[1]: Suspicion("b", 0.8)})
    return ids


def test_suspected_labels_come_surest_first_and_a_kept_label_is_not_suspected_again(
    desk: Desk, suspected: list[str], add_images: AddImages
) -> None:
    surer, other = desk.show("suspected")
    assert [surer.entry.item_id, other.entry.item_id] == [suspected[1], suspected[0]]
    assert (surer.entry.class_name, surer.entry.proposed, surer.entry.doubt) == ("b", "a", pytest.approx(0.8))
    assert surer.entry.probabilities == pytest.approx({"a": 0.1, "b": 0.9})
    state = desk.placements(*suspected)
    kept = desk.decide("ada", certify(surer, "suspected", "a"))
    assert desk.placements(*suspected) == state
    assert desk.ids("suspected") == [suspected[0]]
    with pytest.raises(ReviewConflictError, match="ada certified"):
        desk.decide("bob", certify(surer, "suspected", "a"))
    add_images("b", 1)
    desk.decide("bob", Decision(suspected[0], "suspected", other.seen, "correct", "b"))
    assert desk.placements(suspected[0])[suspected[0]]["class_names"] == ["b"]
    assert desk.ids("suspected") == []
    undo(desk.catalog, desk.people["ada"], kept.values())
    assert desk.ids("suspected") == [suspected[1]]


def test_feedback_and_decisions_about_the_same_photo_do_not_block_each_other(desk: Desk) -> None:
    """Feedback waits for the decision, and neither is aborted."""
    prediction_id = desk.predict(1, 0.9)
    desk.reject_answer(prediction_id)
    before = desk.ids("mispredicted")
    with ThreadPoolExecutor(2) as threads:
        for _ in range(10):
            (shown,) = desk.show("mispredicted")
            decided = threads.submit(desk.decide, "ada", certify(shown, "mispredicted", "a"))
            said = threads.submit(desk.reject_answer, prediction_id, "b")
            said.result()
            undo(desk.catalog, desk.people["ada"], decided.result().values())
    assert desk.ids("mispredicted") == before


def test_an_erased_reviewer_leaves_decisions_that_nobody_made(desk: Desk, suspected: list[str]) -> None:
    desk.decide("ada", certify(desk.show("suspected")[0], "suspected", "a"))
    with desk.catalog.begin() as connection:
        erase_account(connection, desk.people["ada"])
    (shown,) = desk.show("suspected")
    assert shown.entry.item_id == suspected[0]
    with pytest.raises(ReviewConflictError, match="A former account certified"):
        desk.decide("bob", Decision(suspected[1], "suspected", "0" * 16, "certify", "a"))


def test_an_erased_reviewer_takes_along_the_reasons_that_it_typed(desk: Desk) -> None:
    desk.let_wait([1])
    (shown,) = desk.show("waiting")
    typed = "seen by the wife of the baker"
    desk.decide("ada", Decision(shown.entry.item_id, "waiting", shown.seen, "reject", reason=typed))
    with desk.catalog.begin() as connection:
        erase_account(connection, desk.people["ada"])
        assert connection.scalars(sa.select(review_decisions.c.reason)).all() == [""]
        assert not any(typed in str(detail) for detail in connection.scalars(sa.select(events.c.detail)))


# 50,000 answers that nobody decided about.
MANY = """
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
SELECT encode(sha256(n::text::bytea), 'hex'), 'image/png', 32, 32, 100 FROM generate_series(1, 50000) AS n;
INSERT INTO training.items (id, image_sha256, group_key, source) SELECT sha256, sha256, sha256, 'test'
FROM training.images;
INSERT INTO logs.results (item_id, model_version, probabilities, top_class, confidence, margin)
SELECT id, 1, '{0.5,0.5}', 'class ' || hashtext(id) % 20, 0.5, abs(hashtext(id)) / 2147483648.0 FROM training.items;
"""


def test_a_page_reads_an_index_however_many_items_wait(desk: Desk) -> None:
    with desk.catalog.begin() as connection:
        connection.execute(sa.text(MANY))
        assert connection.scalar(sa.select(sa.func.count()).select_from(review_entries)) == 50000
    with desk.catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
    for wanted in (QueueFilter("uncertain"), QueueFilter("uncertain", "class 7")):
        cursor = read_queue(desk.catalog, wanted, 50, None).next_cursor
        plans = plans_of(desk.catalog, partial(query_queue, wanted=wanted, limit=50, cursor=cursor))
        scanned = {table for plan in plans for table in scanned_whole(plan)}
        assert scanned.isdisjoint({"review_entries", "items", "results"})
