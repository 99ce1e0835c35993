"""The outbox of alerts."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE logs.alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('below_floor', 'new_images', 'retraining_failed', 'retraining_overdue',
        'quarantine', 'promotion_waiting', 'promoted', 'rolled_back', 'moved_externally')),
    event_key text NOT NULL UNIQUE,
    title text NOT NULL,
    body text NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    sent_to text[] NOT NULL DEFAULT '{}',
    tries integer NOT NULL DEFAULT 0,
    last_error text
);
CREATE INDEX alerts_unsent ON logs.alerts (tries, id) WHERE sent_at IS NULL;

-- The service raises alerts (a rollback, an alias moved by hand); only the nights' role sends them.
GRANT SELECT, INSERT ON logs.alerts TO web;
GRANT SELECT, INSERT, UPDATE ON logs.alerts TO training;
GRANT SELECT ON logs.alerts TO grafana_ro;
"""

DOWN = "DROP TABLE logs.alerts;"


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
