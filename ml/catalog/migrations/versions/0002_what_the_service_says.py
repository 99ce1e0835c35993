"""Add the served versions, indexes for pages of the logs, and logins that the role `training` may read for messages.

The kinds of alerts are now listed only in the code (ml.catalog.logs.outbox), so a new kind needs no migration.
"""

from alembic import op

revision = "schema_0002"
down_revision = "schema_0001"
branch_labels = None
depends_on = None

STATEMENTS = """
ALTER TABLE logs.alerts DROP CONSTRAINT alerts_kind_check;

CREATE TABLE logs.served_models (
    process text PRIMARY KEY,
    version integer,
    refused_version integer,
    load_error text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    alive_until timestamptz NOT NULL,
    CHECK ((refused_version IS NULL) = (load_error IS NULL))
);
GRANT SELECT, INSERT, UPDATE, DELETE ON logs.served_models TO web;
GRANT SELECT ON logs.served_models TO training, grafana_ro;

-- Messages name people. The role that sends them may read an account's login, but neither its hash nor its role.
GRANT USAGE ON SCHEMA users TO training;
GRANT SELECT (id, login) ON users.accounts TO training;

-- GET /data/query reads pages of (time, id), newest first.
CREATE INDEX predictions_newest ON logs.predictions (requested_at, id);
CREATE INDEX feedback_newest ON logs.feedback (given_at, id);
DROP INDEX logs.events_newest;
CREATE INDEX events_newest ON logs.events (happened_at, id);
CREATE INDEX events_newest_of_kind ON logs.events (kind, happened_at, id);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
