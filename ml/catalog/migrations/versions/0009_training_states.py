"""A training's state has a table and columns of its own; before, it was read out of the alerts that told of it."""

from alembic import op

revision = "schema_0009"
down_revision = "schema_0008"
branch_labels = None
depends_on = None

# A step may fail before its attempt exists: failures hang on the request, whose key may contain colons. The last colon
# of the pattern is in brackets because `:try` would be a parameter of the statement.
FAILURES = """
CREATE TABLE training.training_failures (
    request_key text,
    step text,
    try_number integer,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (request_key, step, try_number)
);
CREATE INDEX training_failures_newest ON training.training_failures (failed_at);

INSERT INTO training.training_failures
SELECT told.parts[1], told.parts[2], told.parts[3]::integer, told.raised_at
FROM (
    SELECT regexp_match(event_key, '^retraining-failed:(.*):([^:]*)[:]try ([0-9]+)$') AS parts, raised_at
    FROM logs.alerts WHERE kind = 'retraining_failed'
) AS told
WHERE told.parts IS NOT NULL;
"""

APPROVALS = """
ALTER TABLE training.attempts ADD COLUMN approval_asked_at timestamptz;
CREATE INDEX attempts_asked ON training.attempts (approval_asked_at)
    WHERE finished_at IS NULL AND approval_asked_at IS NOT NULL;

UPDATE training.attempts SET approval_asked_at = told.raised_at
FROM (
    SELECT substring(event_key FROM '^promotion-waiting:attempt ([0-9]+):') AS attempt_id, max(raised_at) AS raised_at
    FROM logs.alerts WHERE kind = 'promotion_waiting' GROUP BY 1
) AS told
WHERE attempts.id = told.attempt_id::bigint;
"""

# As ml.training.recipes reads the parameters: without a kind, they are a retraining's.
KINDS = """
ALTER TABLE training.attempts
    ADD COLUMN kind text NOT NULL GENERATED ALWAYS AS (coalesce(parameters ->> 'kind', 'retrain')) STORED;
"""

GRANTS = """
GRANT SELECT ON training.training_failures TO web, grafana_ro;
GRANT SELECT, INSERT, UPDATE, DELETE ON training.training_failures TO training;
"""


def upgrade() -> None:
    for statements in (FAILURES, APPROVALS, KINDS, GRANTS):
        op.execute(statements)
