"""The figures over time, as PostgreSQL aggregates them, from rows such as nights and people leave."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.label_origins import NewImages
from ml.catalog.models.evaluations import save_monitoring
from ml.catalog.tables import class_recalls, evaluations, feedback, items, predictions, promotions, results
from ml.confidence.estimation import share_of
from ml.reporting.figures_over_time.reading import FiguresOverTime, read_balance, read_figures
from ml.reporting.figures_over_time.spans import Span
from ml.settings import Settings
from tests import three_years

DAY = date(2026, 3, 29)  # in Europe, summer time begins: the day has 23 hours
HOSTILE = ["<script>alert(1)</script>", "'; DROP TABLE training.items; --", "%s %(x)s :name", "a\tb\\", "Ünï\u202ecode"]


def read(
    catalog: Catalog, since: date, until: date, zone: str = "UTC", class_name: str | None = None
) -> FiguresOverTime:
    return read_figures(catalog, Settings(), Span(since, until, zone), class_name)


def enter(catalog: Catalog, item_ids: list[str], at: str) -> None:
    with catalog.begin() as connection:
        moment = datetime.fromisoformat(at)
        connection.execute(sa.update(items).where(items.c.id.in_(item_ids)).values(entered_pool_at=moment))


def answer(catalog: Catalog, item_id: str, at: str, confidence: float, top_class: str = "a", verdict: str = "") -> None:
    """Store an answer that was asked for twice, and what a person said of it."""
    moment = datetime.fromisoformat(at)
    row = {"item_id": item_id, "model_version": 1, "probabilities": [], "top_class": top_class, "margin": 0.1}
    with catalog.begin() as connection:
        new = sa.insert(results).values(**row, confidence=confidence).returning(results.c.id)
        result_id = connection.execute(new).scalar_one()
        for is_cached in (False, True):
            asked = {"result_id": result_id, "is_cached": is_cached, "requested_at": moment}
            asked_id = connection.execute(sa.insert(predictions).values(asked).returning(predictions.c.id)).scalar_one()
        if verdict:
            connection.execute(sa.insert(feedback).values(prediction_id=asked_id, verdict=verdict, given_at=moment))


@pytest.mark.parametrize(
    ("zone", "counts"),
    [
        ("UTC", {date(2026, 3, 28): 2, date(2026, 3, 29): 2}),
        ("Europe/Paris", {date(2026, 3, 29): 3, date(2026, 3, 30): 1}),
        ("Pacific/Auckland", {date(2026, 3, 29): 3, date(2026, 3, 30): 1}),
        ("America/Lima", {date(2026, 3, 28): 2, date(2026, 3, 29): 2}),
        ("Asia/Kolkata", {date(2026, 3, 29): 3, date(2026, 3, 30): 1}),
    ],
)
def test_days_are_those_of_the_readers_zone_also_when_the_clock_changes(
    catalog: Catalog, add_images: Callable[..., list[str]], zone: str, counts: dict[date, int]
) -> None:
    images = add_images("a", 4)
    moments = ["2026-03-28T23:00+00:00", "2026-03-28T23:59:59.999999+00:00", "2026-03-29T05:00+00:00"]
    for image, moment in zip(images, [*moments, "2026-03-29T22:00+00:00"], strict=True):
        enter(catalog, [image], moment)
    table = read(catalog, date(2026, 3, 27), date(2026, 3, 31), zone).arrivals
    span = Span(DAY, DAY, zone)
    days = dict(zip(map(span.day_of, table.at), table.columns["curated"], strict=True))
    assert days == counts
    assert table.columns["harvested"] == [0, 0]
    (only,) = read(catalog, DAY, DAY, zone).arrivals.columns["curated"]  # both ends of a span are whole days
    assert only == counts[DAY]


def test_a_day_of_a_change_of_the_clock_has_its_own_length() -> None:
    start, end = Span(DAY, DAY, "Europe/Paris").bounds
    assert (end - start.astimezone(UTC)).total_seconds() == 23 * 3600


def test_the_accuracy_is_that_of_the_version_in_production_at_the_time_also_after_a_rollback(
    catalog: Catalog, add_champion: Callable[..., None]
) -> None:
    for version, accuracy in ((1, 0.8), (2, 0.6)):
        add_champion(version, accuracy)
    with catalog.begin() as connection:
        connection.execute(sa.delete(promotions))
        rows = [("promotion", 1, 1), ("promotion", 2, 3), ("rollback", 1, 5), ("release", None, 6)]
        for kind, version, day in rows:
            at = datetime(2026, 5, day, tzinfo=UTC)
            values = {"kind": kind, "to_version": version, "actor": "test", "reason": ""}
            connection.execute(sa.insert(promotions).values(**values, intended_at=at, completed_at=at))
        lost = {"kind": "promotion", "to_version": 2, "actor": "test", "reason": "It died."}
        connection.execute(sa.insert(promotions).values(**lost, intended_at=datetime(2026, 5, 7, tzinfo=UTC)))
        stored = connection.execute(sa.select(evaluations)).mappings().all()
        connection.execute(sa.text("TRUNCATE training.class_recalls"))
        for day in range(1, 9):
            for row in stored:
                values = {**row, "evaluated_at": datetime(2026, 5, day, 12, tzinfo=UTC)}
                del values["id"]
                connection.execute(sa.insert(evaluations).values(values))
        connection.execute(sa.delete(evaluations).where(evaluations.c.id.in_([row["id"] for row in stored])))
    figures = read(catalog, date(2026, 5, 1), date(2026, 5, 31), class_name="b")
    assert figures.accuracy.columns["version"] == (1, 1, 2, 2, 1, 1, 1, 1)
    assert figures.accuracy.columns["value"] == (0.8, 0.8, 0.6, 0.6, 0.8, 0.8, 0.8, 0.8)
    assert figures.accuracy.columns["below"] == (None, None, 0.6, 0.6, None, None, None, None)
    share = share_of(8, 10)
    assert (figures.accuracy.columns["low"][0], figures.accuracy.columns["high"][0]) == (
        pytest.approx(share.low, abs=1e-5),
        pytest.approx(share.high, abs=1e-5),
    )
    assert [(each.kind, each.version) for each in figures.moves] == [
        ("promotion", 1),
        ("promotion", 2),
        ("rollback", 1),
    ]
    assert figures.recall is not None
    assert figures.recall.columns["value"] == (0.8, 0.8, 0.6, 0.6, 0.8, 0.8, 0.8, 0.8)
    without_images = read(catalog, date(2026, 5, 1), date(2026, 5, 31), class_name="a").recall
    assert without_images is not None
    assert without_images.at == ()


def test_confidence_and_feedback_are_counted_by_day_and_class(
    catalog: Catalog, add_images: Callable[..., list[str]], add_champion: Callable[..., None]
) -> None:
    add_champion(1, 0.9)
    images = add_images("a", 11)
    for number, image in enumerate(images):
        is_other = number == 10
        at = "2026-06-02T00:30+02:00" if is_other else "2026-06-02T12:00+00:00"
        verdict = ("ok", "nok", "")[number % 3]
        answer(catalog, image, at, number / 10, "b" if is_other else "a", verdict)
    figures = read(catalog, date(2026, 6, 1), date(2026, 6, 3))
    assert [at.day for at in figures.confidence.at] == [1, 2]
    assert figures.confidence.columns["answers"] == (1, 10)  # what was cached is not counted again
    assert figures.confidence.columns["median"][1] == pytest.approx(0.4)
    assert figures.confidence.columns["low"][1] == pytest.approx(0.0)
    assert figures.confidence.columns["high"][1] == pytest.approx(0.8)
    assert figures.feedback.columns == {"ok": [0, 4], "nok": [1, 3]}
    of_class = read(catalog, date(2026, 6, 1), date(2026, 6, 3), "Europe/Paris", "b")
    assert of_class.feedback.columns == {"ok": [0], "nok": [1]}
    assert of_class.confidence.columns["answers"] == (1,)
    assert Span(DAY, DAY, "Europe/Paris").day_of(of_class.feedback.at[0]) == date(2026, 6, 2)


def test_many_classes_with_hostile_names_keep_their_own_numbers(
    catalog: Catalog, add_images: Callable[..., list[str]]
) -> None:
    wanted = {}
    for number, name in enumerate([*HOSTILE, *(f"class {n}" for n in range(60))], start=1):
        enter(catalog, add_images(name, number % 5 + 1), "2026-06-02T12:00+00:00")
        wanted[name] = number % 5 + 1
    harvested = add_images(HOSTILE[0], 2, origin="harvested")
    enter(catalog, harvested, "2026-06-02T12:00+00:00")
    balance = {each.name: (each.human, each.harvested) for each in read_balance(catalog)}
    assert balance == {name: (count, 2 if name == HOSTILE[0] else 0) for name, count in wanted.items()}
    for name in HOSTILE:
        (count,) = read(catalog, DAY, date(2026, 6, 30), class_name=name).arrivals.columns["curated"]
        assert count == wanted[name]
    assert read(catalog, DAY, date(2026, 6, 30), class_name="%").arrivals.at == []


def test_an_empty_installation_has_empty_figures(catalog: Catalog) -> None:
    figures = read(catalog, DAY, DAY, class_name="nothing")
    tables = [value for value in vars(figures).values() if hasattr(value, "at")]
    assert len(tables) == 9
    assert [len(table.at) for table in tables] == [0] * 9
    assert all(not any(column) for table in tables for column in table.columns.values())
    assert (figures.moves, read_balance(catalog)) == ([], [])


def test_one_night_has_its_figures_and_an_unmeasured_calibration(
    catalog: Catalog, add_champion: Callable[..., None]
) -> None:
    add_champion(1, 0.9)
    with catalog.begin() as connection:
        set_version = connection.execute(sa.select(evaluations.c.evaluation_set_version)).scalars().first()
        assert set_version is not None
        for found in ({}, {"calibration_error": 0.04, "calibration_error_low": 0.02, "calibration_error_high": 0.06}):
            save_monitoring(connection, 1, set_version, 0.9, [], NewImages(7, 2), [], found)
    today = datetime.now(UTC).date()
    figures = read(catalog, today, today)
    assert figures.new_images.columns == {"human": (7, 7), "harvested": (2, 2)}
    assert figures.calibration.columns["calibration_error"] == (None, pytest.approx(0.04))
    assert figures.calibration.columns["calibration_error_high"] == (None, pytest.approx(0.06))


def test_a_task_without_recalls_has_none_to_draw(catalog: Catalog, add_champion: Callable[..., None]) -> None:
    add_champion(1, 0.9)
    with catalog.begin() as connection:
        row = dict(connection.execute(sa.select(evaluations).where(evaluations.c.is_deciding)).mappings().one())
        del row["id"], row["evaluated_at"]
        per_class = {"b": {"image_count": 3.0}, "c": {"image_count": 3.0, "recall": None}}
        connection.execute(sa.insert(evaluations).values({**row, "per_class": per_class}))
        connection.execute(sa.insert(evaluations).values({**row, "per_class": {}}))
        names = connection.execute(sa.select(class_recalls.c.class_name)).scalars().all()
    assert names == ["b"]


def test_three_years_of_nights_are_read_in_few_queries_that_aggregate(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        three_years.fill(connection, images=2000, repeats=1)
    sent: list[Any] = []
    sa.event.listen(catalog.engine, "after_cursor_execute", lambda _c, cursor, *_: sent.append(cursor.rowcount))
    today = datetime.now(UTC).date()
    figures = read(catalog, today.replace(year=today.year - 4), today, class_name="class 2")
    assert len(figures.accuracy.at) > 1000
    assert figures.recall is not None
    assert len(figures.recall.at) == len(figures.accuracy.at)
    assert len(sent) < 12
    assert max(sent) <= 3 * three_years.NIGHTS + 3  # days and nights, never items or answers
