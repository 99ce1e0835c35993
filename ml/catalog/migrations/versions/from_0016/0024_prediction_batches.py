"""Add batches of predictions: many photos that one account sent at once, and what became of each."""

from alembic import op

revision = "schema_0024"
down_revision = "schema_0023"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE logs.prediction_batches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES users.accounts ON DELETE CASCADE,
    name text NOT NULL,
    is_ready boolean NOT NULL,
    has_archive boolean NOT NULL,
    is_cancelled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    served_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX prediction_batches_account ON logs.prediction_batches (account_id, id);
CREATE INDEX prediction_batches_open ON logs.prediction_batches (served_at NULLS FIRST, id) WHERE finished_at IS NULL;

CREATE TABLE logs.batch_photos (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id bigint NOT NULL REFERENCES logs.prediction_batches ON DELETE CASCADE,
    number integer NOT NULL,
    name text NOT NULL,
    entry integer,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'named', 'failed', 'skipped', 'erased')),
    problem text,
    tries smallint NOT NULL DEFAULT 0,
    prediction_id bigint REFERENCES logs.predictions ON DELETE SET NULL,
    done_at timestamptz,
    UNIQUE (batch_id, number),
    CHECK ((state = 'failed') = (problem IS NOT NULL))
);
CREATE INDEX batch_photos_waiting ON logs.batch_photos (batch_id, number) WHERE state = 'waiting';
CREATE INDEX batch_photos_prediction ON logs.batch_photos (prediction_id) WHERE prediction_id IS NOT NULL;
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON logs.prediction_batches, logs.batch_photos TO web;
"""


def upgrade() -> None:
    for statements in (TABLES, GRANTS):
        op.execute(statements)
