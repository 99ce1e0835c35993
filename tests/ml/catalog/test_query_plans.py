"""What is asked again and again must stay on an index when the tables have grown: by the night, and by accounts."""

import json
from datetime import UTC, datetime
from functools import partial
from itertools import islice

import pytest
import sqlalchemy as sa

from ml.catalog.accounts.personal_data import KINDS, read_history
from ml.catalog.accounts.user_accounts import Account, erase_account
from ml.catalog.database import Catalog
from ml.catalog.items.item_classes import list_item_classes
from ml.catalog.logs.log_queries import LogFilter, query_events, query_feedback, query_predictions
from ml.catalog.models import attempts
from ml.catalog.models.training_failures import has_failed, last_failure
from ml.data import pool

FILL = """
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
SELECT encode(sha256(n::text::bytea), 'hex'), 'image/png', 32, 32, 100 FROM generate_series(1, 100000) AS n;
INSERT INTO training.items (id, image_sha256, group_key, source, split, class_names, label_origin, entered_pool_at)
SELECT sha256, sha256, n::text, 'test',
       'pool', ARRAY['class ' || n % 20], CASE WHEN n % 4 = 0 THEN 'harvested' ELSE 'curated' END,
       timestamptz '2026-01-01' + n * interval '1 second'
FROM generate_series(1, 100000) AS n, encode(sha256(n::text::bytea), 'hex') AS sha256
"""


@pytest.fixture
def large_pool(catalog: Catalog) -> Catalog:
    with catalog.begin() as connection:
        connection.execute(sa.text(FILL))
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE training.items, training.item_classes"))
    return catalog


def plans_of(catalog: Catalog, ask: object) -> list[dict[str, object]]:
    """The plan of every query that a function sends."""
    sent: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    with catalog.engine.connect() as connection:
        sa.event.listen(catalog.engine, "before_cursor_execute", note)
        ask(connection)  # type: ignore[operator]
        sa.event.remove(catalog.engine, "before_cursor_execute", note)
        plans = []
        for statement, parameters in sent:
            text = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()  # type: ignore[arg-type]
            plans.append(text[0]["Plan"])
    return plans


CLASSES = [f"class {number}" for number in range(20)]
SINCE = datetime(2026, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    "ask",
    [
        lambda connection: pool.newest_labelled(connection, 1000),
        lambda connection: pool.newest_labelled(connection, 1000, CLASSES),
        lambda connection: pool.count_labelled_since(connection, SINCE),
        lambda connection: pool.is_harvested_since(connection, SINCE),
        lambda connection: pool.newest_labelled(connection, 25, CLASSES, showing="class 7"),
        lambda connection: list(islice(pool.each_newest_harvested(connection, CLASSES, "class 4", 25), 25)),
        lambda connection: list(pool.each_newest_harvested(connection, CLASSES, "class 7", 25)),
        lambda connection: list(islice(pool.each_newest_labelled(connection, CLASSES, "class 7", 25), 25)),
    ],
    ids=[
        "newest N",
        "newest N of the classes",
        "count since a cutoff",
        "any harvested since",
        "newest N of a class",
        "each harvested of a class",
        "none harvested of a class",
        "each of a class",
    ],
)
def test_the_query_reads_an_index_and_never_the_whole_table(large_pool: Catalog, ask: object) -> None:
    (plan,) = plans_of(large_pool, ask)
    written = json.dumps(plan)
    assert "Seq Scan" not in written
    assert "Index" in written
    assert "Sort" not in written


def test_classes_are_listed_without_reading_their_items(large_pool: Catalog) -> None:
    blocks = sa.text("SELECT pg_stat_get_xact_blocks_fetched('training.item_classes_pkey'::regclass)")
    with large_pool.begin() as connection:
        assert list_item_classes(connection) == dict.fromkeys(CLASSES, True)
        assert 0 < connection.scalars(blocks).one() < 300  # of more than 1000


# 50,000 of everything that people do; 100 of each are the account 7's.
LIVELY = """
INSERT INTO users.accounts (login, password_hash, role)
SELECT 'account-' || n, 'none', 'user' FROM generate_series(1, 20) AS n;
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
SELECT encode(sha256(n::text::bytea), 'hex'), 'image/png', 32, 32, 100 FROM generate_series(1, 50000) AS n;
INSERT INTO training.items (id, image_sha256, group_key, source)
SELECT sha256, sha256, sha256, 'test' FROM training.images;
INSERT INTO logs.results (item_id, model_version, probabilities, confidence, margin)
SELECT id, 1, '{0.5,0.5}', 0.5, 0 FROM training.items;
INSERT INTO logs.predictions (result_id, account_id, is_cached)
SELECT id, CASE WHEN id % 500 = 0 THEN 7 ELSE 1 + id % 5 END, false FROM logs.results;
INSERT INTO logs.feedback (prediction_id, account_id, verdict) SELECT id, account_id, 'ok' FROM logs.predictions;
INSERT INTO training.annotations (item_id, class_names, origin, said_by)
SELECT item_id, '{amanita}', 'confirmed', 'account:' || account_id
FROM logs.predictions JOIN logs.results ON results.id = result_id;
INSERT INTO logs.events (kind, actor, detail)
SELECT 'client.test', 'account:' || account_id, '{}' FROM logs.predictions;
INSERT INTO users.tokens (account_id, token_sha256, expires_at)
SELECT account_id, id::text, now() FROM logs.predictions;
INSERT INTO training.harvests (item_id, account_id, model_version)
SELECT item_id, account_id, 1 FROM logs.predictions JOIN logs.results ON results.id = result_id;
UPDATE training.images SET account_id = harvests.account_id FROM training.harvests WHERE item_id = sha256;
INSERT INTO training.review_decisions (item_id, queue, decision, class_name, account_id, changes)
SELECT item_id, 'waiting', 'certify', 'amanita', account_id, '[]' FROM training.harvests;
INSERT INTO logs.prediction_batches (account_id, name, is_ready, has_archive, finished_at)
SELECT account_id, '', true, false, now() FROM logs.predictions;
INSERT INTO logs.batch_photos (batch_id, number, name, state) SELECT id, 1, '', 'named' FROM logs.prediction_batches;
"""


@pytest.fixture
def lively(catalog: Catalog) -> Catalog:
    with catalog.begin() as connection:
        connection.execute(sa.text(LIVELY))
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
    return catalog


def test_an_account_is_exported_and_erased_without_reading_what_others_did(lively: Catalog) -> None:
    plans = plans_of(lively, lambda _: [list(rows) for rows in read_history(lively, 7).values()])
    assert len(plans) == len(KINDS)  # a page of each kind
    assert {table for plan in plans for table in scanned_whole(plan)} <= {"promotions"}  # a small one
    scanned = sa.text("SELECT relname FROM pg_stat_xact_user_tables WHERE seq_tup_read > 1000")
    with lively.begin() as connection:
        erase_account(connection, Account(7, "account-7", "user"))
        assert connection.scalars(scanned).all() == []


PAGES = {
    "predictions": (query_predictions, LogFilter()),
    "predictions of an account": (query_predictions, LogFilter(login="account-7")),
    "predictions of an image": (query_predictions, LogFilter(item_id="0" * 64)),
    "predictions of long ago": (query_predictions, LogFilter(received_before=datetime(2026, 1, 1, tzinfo=UTC))),
    "feedback": (query_feedback, LogFilter()),
    "feedback of an account": (query_feedback, LogFilter(login="account-7")),
    "feedback on a prediction": (query_feedback, LogFilter(prediction_id=7)),
    "events": (query_events, LogFilter()),
    "events of a kind": (query_events, LogFilter(event="unheard of")),
    "events of an account": (query_events, LogFilter(login="account-7")),
}


def test_a_page_of_what_people_did_reads_an_index_and_never_a_whole_table(lively: Catalog) -> None:
    for name, (query, wanted) in PAGES.items():
        with lively.begin() as connection:
            cursor = query(connection, wanted, 50, None).next_cursor
        for start in {None, cursor}:
            plans = plans_of(lively, partial(query, wanted=wanted, limit=50, cursor=start))
            scanned = {table for plan in plans for table in scanned_whole(plan)}
            assert scanned <= {"accounts", "model_versions"}, name  # small ones


# 20,000 trainings: every second failed, every tenth was asked about, and every hundredth never ended.
TRAINED = """
INSERT INTO training.snapshots (cutoff, requested_size, strategy, classes, pool_state)
VALUES (now(), 1, 'newest', '{a}', '1');
INSERT INTO training.attempts (request_key, reason, parameters, snapshot_id, started_at, approval_asked_at, finished_at)
SELECT 'run ' || n, 'test', '{}', id, moment, CASE WHEN n % 10 = 0 THEN moment END,
       CASE WHEN n % 100 > 0 THEN moment + interval '1 hour' END
FROM training.snapshots, generate_series(1, 20000) AS n, LATERAL (SELECT now() - (20000 - n) * interval '1 hour')
    AS at (moment);
INSERT INTO training.training_failures
SELECT request_key, 'train', 1, started_at FROM training.attempts WHERE id % 2 = 0;
INSERT INTO training.training_failures SELECT 'before its attempt ' || n, 'snapshot', 1, now() - n * interval '1 hour'
FROM generate_series(1, 20000) AS n;
INSERT INTO training.model_versions (version, mlflow_run_id, backbone_id, classes, image_size, precision)
SELECT id, 'run ' || id, 'b:1', '{a,b}', 32, 'fp32' FROM training.attempts;
INSERT INTO training.evaluation_sets (content_sha256) VALUES ('set');
INSERT INTO training.verdicts (attempt_id, model_version, evaluation_set_version, decision, reasons, warnings,
                               challenger_figure)
SELECT id, id, version, 'promote', '{}', '{}', 0.9 FROM training.attempts, training.evaluation_sets;
"""
HAS_FAILED = has_failed(sa.literal("run 10"))


@pytest.mark.parametrize(
    "ask",
    [last_failure, attempts.count_approvals_waiting, lambda connection: connection.scalar(sa.select(HAS_FAILED))],
    ids=["last failure", "approvals waiting", "has failed"],
)
def test_the_state_of_trainings_is_read_off_indexes_after_many_years(catalog: Catalog, ask: object) -> None:
    with catalog.begin() as connection:
        connection.execute(sa.text(TRAINED))
    with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
    (plan,) = plans_of(catalog, ask)
    assert scanned_whole(plan) == []


def scanned_whole(plan: dict[str, object]) -> list[str]:
    """The tables that a plan reads from end to end."""
    own = [str(plan["Relation Name"])] if plan["Node Type"] == "Seq Scan" else []
    below = plan.get("Plans", [])
    assert isinstance(below, list)
    return own + [table for each in below for table in scanned_whole(each)]
