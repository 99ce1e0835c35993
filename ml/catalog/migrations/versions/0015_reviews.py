"""Add the review queues, and the decisions of reviewers with what a decision changed, so that it can be undone.

A queue is a table that triggers keep, like training.item_classes: a page reads one index, however many items were
decided before. `training.refresh_review_entries` states what is in which queue.
"""

from alembic import op

revision = "schema_0015"
down_revision = "schema_0014"
branch_labels = None
depends_on = None

DECISIONS = """
CREATE TABLE training.review_decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item_id text NOT NULL REFERENCES training.items,
    queue text NOT NULL CHECK (queue IN ('mispredicted', 'waiting', 'uncertain', 'suspected')),
    decision text NOT NULL CHECK (decision IN ('certify', 'correct', 'reject')),
    class_name text,
    reason text,
    account_id bigint REFERENCES users.accounts ON DELETE SET NULL,
    -- The former and the new state of each item that the decision changed, as ml.data.membership writes it.
    changes jsonb NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    undone_at timestamptz,
    CHECK ((decision = 'reject') = (reason IS NOT NULL))
);
CREATE INDEX review_decisions_item ON training.review_decisions (item_id, id);
CREATE INDEX review_decisions_account ON training.review_decisions (account_id, id);
"""

# A lower rank comes first.
ENTRIES = """
CREATE TABLE training.review_entries (
    queue text CHECK (queue IN ('mispredicted', 'waiting', 'uncertain', 'suspected')),
    item_id text REFERENCES training.items ON DELETE CASCADE,
    class_name text,
    rank double precision NOT NULL,
    result_id bigint,
    feedback_id bigint,
    attempt_id bigint,
    PRIMARY KEY (queue, item_id)
);
CREATE INDEX review_entries_rank ON training.review_entries (queue, rank, item_id);
CREATE INDEX review_entries_class ON training.review_entries (queue, class_name, rank, item_id);
CREATE INDEX review_entries_item ON training.review_entries (item_id);

CREATE FUNCTION training.refresh_review_entries(changed text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    DELETE FROM training.review_entries WHERE item_id = ANY (changed);

    INSERT INTO training.review_entries (queue, item_id, class_name, rank)
    SELECT 'waiting', id, class_names[1], extract(epoch FROM received_at) FROM training.items
    WHERE id = ANY (changed) AND held_back = 'waiting' AND image_sha256 IS NOT NULL
    ORDER BY id ON CONFLICT DO NOTHING;

    -- The latest answer to an item that nobody has decided about.
    INSERT INTO training.review_entries (queue, item_id, class_name, rank, result_id)
    SELECT DISTINCT ON (items.id) 'uncertain', items.id, results.top_class, results.margin, results.id
    FROM training.items JOIN logs.results ON results.item_id = items.id
    WHERE items.id = ANY (changed) AND items.split IS NULL AND items.class_names IS NULL AND items.held_back IS NULL
        AND items.image_sha256 IS NOT NULL
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
REVOKE ALL ON FUNCTION training.refresh_review_entries FROM PUBLIC;
"""

TRIGGERS = """
CREATE FUNCTION training.review_items() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    changed text[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(id ORDER BY id) INTO changed FROM after WHERE held_back IS NOT NULL;
    ELSE
        SELECT array_agg(after.id ORDER BY after.id) INTO changed FROM before JOIN after ON before.id = after.id
        WHERE (before.split, before.class_names, before.label_origin, before.held_back, before.image_sha256,
                before.entered_pool_at IS NULL)
            IS DISTINCT FROM (after.split, after.class_names, after.label_origin, after.held_back, after.image_sha256,
                after.entered_pool_at IS NULL);
    END IF;
    IF changed IS NOT NULL THEN
        PERFORM training.refresh_review_entries(changed);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER review_items_added AFTER INSERT ON training.items REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION training.review_items();
CREATE TRIGGER review_items_changed AFTER UPDATE ON training.items REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION training.review_items();

CREATE FUNCTION training.review_results() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    changed text[];
BEGIN
    SELECT array_agg(items.id ORDER BY items.id) INTO changed FROM after JOIN training.items ON items.id = after.item_id
    WHERE items.split IS NULL AND items.class_names IS NULL AND items.held_back IS NULL;
    IF changed IS NOT NULL THEN
        PERFORM training.refresh_review_entries(changed);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER review_results_added AFTER INSERT ON logs.results REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION training.review_results();

CREATE FUNCTION training.review_feedback() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    changed text[];
BEGIN
    SELECT array_agg(DISTINCT results.item_id) INTO changed
    FROM after JOIN logs.predictions ON predictions.id = after.prediction_id
    JOIN logs.results ON results.id = predictions.result_id;
    IF changed IS NOT NULL THEN
        PERFORM training.refresh_review_entries(changed);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER review_feedback_added AFTER INSERT ON logs.feedback REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION training.review_feedback();

CREATE FUNCTION training.review_decided() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    changed text[];
BEGIN
    SELECT array_agg(DISTINCT item_id) INTO changed FROM after WHERE queue = 'suspected';
    IF changed IS NOT NULL THEN
        PERFORM training.refresh_review_entries(changed);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER review_decisions_added AFTER INSERT ON training.review_decisions REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION training.review_decided();
CREATE TRIGGER review_decisions_changed AFTER UPDATE ON training.review_decisions REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION training.review_decided();

SELECT training.refresh_review_entries(array_agg(id ORDER BY id)) FROM training.items
WHERE held_back IS NOT NULL OR class_names IS NULL;
"""

GRANTS = """
GRANT SELECT ON training.review_entries TO web, training, grafana_ro;
GRANT SELECT, INSERT ON training.review_decisions TO web;
GRANT UPDATE (undone_at) ON training.review_decisions TO web;
GRANT SELECT ON training.review_decisions TO training;
GRANT EXECUTE ON FUNCTION training.refresh_review_entries TO training;
"""


def upgrade() -> None:
    for statements in (DECISIONS, ENTRIES, TRIGGERS, GRANTS):
        op.execute(statements)
