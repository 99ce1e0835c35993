"""Store the share of recent predictions that seem to show none of the known classes."""

from alembic import op

revision = "schema_0019"
down_revision = "schema_0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE training.drift_checks ADD COLUMN novel_share double precision, "
        "ADD COLUMN novelty_p_value double precision"
    )
