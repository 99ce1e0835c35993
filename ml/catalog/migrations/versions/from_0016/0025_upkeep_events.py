"""Find the last backup and the last check in the audit log without reading all of it."""

from alembic import op

revision = "schema_0025"
down_revision = "schema_0024"
branch_labels = None
depends_on = None

INDEX = """
CREATE INDEX events_upkeep ON logs.events (kind, id) WHERE kind IN ('backup.made', 'check.finished');
"""


def upgrade() -> None:
    op.execute(INDEX)
