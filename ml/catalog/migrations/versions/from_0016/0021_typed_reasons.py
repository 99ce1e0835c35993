"""Let the service erase the reasons that an account typed in reviews. The audit log does not repeat them any more."""

from alembic import op

revision = "schema_0021"
down_revision = "schema_0020"
branch_labels = None
depends_on = None

GRANT = "GRANT UPDATE (reason) ON training.review_decisions TO web;"

FORMER = """
UPDATE training.review_decisions SET reason = '' WHERE account_id IS NULL AND reason IS NOT NULL;
UPDATE logs.events SET detail = detail - 'reason' WHERE kind LIKE 'review.%';
"""


def upgrade() -> None:
    for statements in (GRANT, FORMER):
        op.execute(statements)
