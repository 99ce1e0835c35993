"""Challengers in shadow: their answers to uploads beside the champion's, and a sample that experts are asked about.

No page and no route for users reads these tables. A photo takes its answers along when it is deleted.
"""

from alembic import op

revision = "schema_0022"
down_revision = "schema_0021"
branch_labels = None
depends_on = None

SHADOWS = """
CREATE TABLE training.shadows (
    challenger_version integer PRIMARY KEY REFERENCES training.model_versions,
    champion_version integer NOT NULL REFERENCES training.model_versions,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    scored_at timestamptz,
    problem text,
    CHECK (challenger_version <> champion_version)
);

CREATE TABLE training.shadow_answers (
    challenger_version integer REFERENCES training.shadows ON DELETE CASCADE,
    item_id text REFERENCES training.items ON DELETE CASCADE,
    asked_at timestamptz NOT NULL,
    is_learned boolean NOT NULL,
    champion_class text,
    champion_confidence real NOT NULL,
    champion_margin real NOT NULL,
    champion_probabilities real[] NOT NULL,
    champion_novelty real,
    champion_answer jsonb,
    challenger_class text,
    challenger_confidence real NOT NULL,
    challenger_margin real NOT NULL,
    challenger_probabilities real[] NOT NULL,
    challenger_novelty real,
    challenger_answer jsonb,
    is_different boolean NOT NULL GENERATED ALWAYS AS (champion_class IS DISTINCT FROM challenger_class) STORED,
    sample_place integer CHECK (sample_place > 0),
    PRIMARY KEY (challenger_version, item_id)
);
CREATE INDEX shadow_answers_item ON training.shadow_answers (item_id);
CREATE INDEX shadow_answers_different ON training.shadow_answers (challenger_version, asked_at, item_id)
    WHERE is_different;
"""

CHECKS = """
ALTER TABLE training.review_entries DROP CONSTRAINT review_entries_queue_check,
    ADD CONSTRAINT review_entries_queue_check
    CHECK (queue IN ('mispredicted', 'waiting', 'uncertain', 'suspected', 'disputed'));
ALTER TABLE training.review_decisions DROP CONSTRAINT review_decisions_queue_check,
    ADD CONSTRAINT review_decisions_queue_check
    CHECK (queue IN ('mispredicted', 'waiting', 'uncertain', 'suspected', 'disputed'));
"""

# Only the queue of disputed photos is new, and that its photos are not in the queue of uncertain answers.
REFRESH = """
CREATE OR REPLACE FUNCTION training.refresh_review_entries(changed text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    DELETE FROM training.review_entries WHERE item_id = ANY (changed);

    INSERT INTO training.review_entries (queue, item_id, class_name, rank)
    SELECT 'waiting', id, class_names[1], extract(epoch FROM received_at) FROM training.items
    WHERE id = ANY (changed) AND held_back = 'waiting' AND image_sha256 IS NOT NULL
    ORDER BY id ON CONFLICT DO NOTHING;

    -- The sample of the photos on which the latest challenger and the champion differ, until a person says what it is.
    INSERT INTO training.review_entries (queue, item_id, rank)
    SELECT 'disputed', items.id, answers.sample_place
    FROM training.items JOIN training.shadow_answers AS answers ON answers.item_id = items.id
    WHERE items.id = ANY (changed) AND answers.sample_place IS NOT NULL
        AND answers.challenger_version = (
            SELECT challenger_version FROM training.shadows ORDER BY started_at DESC, challenger_version DESC LIMIT 1
        )
        AND items.image_sha256 IS NOT NULL AND coalesce(items.label_origin, '') NOT IN ('curated', 'confirmed')
        AND coalesce(items.held_back, '') NOT IN ('excluded', 'superseded', 'erased', 'waiting')
    ORDER BY items.id ON CONFLICT DO NOTHING;

    -- The latest answer to an item that nobody has decided about. A photo of the sample is shown without any answer.
    INSERT INTO training.review_entries (queue, item_id, class_name, rank, result_id)
    SELECT DISTINCT ON (items.id) 'uncertain', items.id, results.top_class, results.margin, results.id
    FROM training.items JOIN logs.results ON results.item_id = items.id
    WHERE items.id = ANY (changed) AND items.split IS NULL AND items.class_names IS NULL AND items.held_back IS NULL
        AND items.image_sha256 IS NOT NULL AND NOT EXISTS (
            SELECT FROM training.review_entries AS asked WHERE asked.queue = 'disputed' AND asked.item_id = items.id
        )
    ORDER BY items.id, results.id DESC ON CONFLICT DO NOTHING;

    -- The latest rejection of an answer, unless its author has changed their mind, newest first.
    INSERT INTO training.review_entries (queue, item_id, class_name, rank, result_id, feedback_id)
    SELECT DISTINCT ON (items.id) 'mispredicted', items.id, results.top_class, -extract(epoch FROM feedback.given_at),
        results.id, feedback.id
    FROM training.items
    JOIN logs.results ON results.item_id = items.id
    JOIN logs.predictions ON predictions.result_id = results.id
    JOIN logs.feedback ON feedback.prediction_id = predictions.id
    WHERE items.id = ANY (changed) AND feedback.verdict = 'nok' AND items.image_sha256 IS NOT NULL
        AND coalesce(items.label_origin, '') NOT IN ('curated', 'confirmed')
        AND coalesce(items.held_back, '') NOT IN ('excluded', 'superseded', 'erased', 'waiting')
        AND NOT EXISTS (
            SELECT FROM logs.feedback AS later WHERE later.prediction_id = feedback.prediction_id
            AND later.account_id = feedback.account_id AND later.id > feedback.id AND later.verdict = 'ok'
        )
    ORDER BY items.id, feedback.id DESC ON CONFLICT DO NOTHING;

    -- A label that the cross-fitted answers of the latest training contradict, the surest contradiction first, unless a
    -- reviewer has looked at this label.
    INSERT INTO training.review_entries (queue, item_id, class_name, rank, attempt_id)
    SELECT 'suspected', items.id, answers.suspected_class, -answers.doubt, answers.attempt_id
    FROM training.items
    JOIN training.cross_fitted_answers AS answers ON answers.item_id = items.id
    JOIN training.attempts ON attempts.id = answers.attempt_id
    JOIN training.snapshot_items ON snapshot_items.snapshot_id = attempts.snapshot_id
        AND snapshot_items.item_id = items.id
    WHERE items.id = ANY (changed) AND answers.suspected_class IS NOT NULL
        AND answers.attempt_id = (SELECT max(attempt_id) FROM training.cross_fitted_answers)
        AND items.entered_pool_at IS NOT NULL AND items.held_back IS NULL AND items.image_sha256 IS NOT NULL
        AND items.label_origin IN ('curated', 'confirmed') AND items.class_names = snapshot_items.class_names
        AND NOT EXISTS (
            SELECT FROM training.review_decisions AS decisions
            WHERE decisions.item_id = items.id AND decisions.undone_at IS NULL
            AND decisions.class_name = items.class_names[1]
        )
    ORDER BY items.id ON CONFLICT DO NOTHING;
END $$;
"""

RESULTS = """
CREATE OR REPLACE FUNCTION training.review_results() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO training.review_entries (queue, item_id, class_name, rank, result_id)
    SELECT DISTINCT ON (items.id) 'uncertain', items.id, after.top_class, after.margin, after.id
    FROM after JOIN training.items ON items.id = after.item_id
    WHERE items.split IS NULL AND items.class_names IS NULL AND items.held_back IS NULL
        AND items.image_sha256 IS NOT NULL AND NOT EXISTS (
            SELECT FROM training.review_entries AS asked WHERE asked.queue = 'disputed' AND asked.item_id = items.id
        )
    ORDER BY items.id, after.id DESC
    ON CONFLICT (queue, item_id) DO UPDATE
    SET class_name = excluded.class_name, rank = excluded.rank, result_id = excluded.result_id;
    RETURN NULL;
END $$;
"""

GRANTS = """
GRANT SELECT ON training.shadows, training.shadow_answers TO web, grafana_ro;
GRANT DELETE ON training.shadow_answers TO web;
GRANT SELECT, INSERT, UPDATE, DELETE ON training.shadows, training.shadow_answers TO training;
"""


def upgrade() -> None:
    for statements in (SHADOWS, CHECKS, REFRESH, RESULTS, GRANTS):
        op.execute(statements)
