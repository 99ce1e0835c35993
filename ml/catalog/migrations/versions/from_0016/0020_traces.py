"""Let the service erase what else is stored about a photo: the cross-fitted answers, and names that people typed."""

from alembic import op

revision = "schema_0020"
down_revision = "schema_0019"
branch_labels = None
depends_on = None

GRANTS = """
GRANT DELETE ON training.cross_fitted_answers TO web;
GRANT UPDATE (proposed_name) ON logs.feedback TO web;
"""

# Of accounts and photos that were erased before.
FORMER = """
UPDATE logs.feedback SET proposed_name = NULL WHERE account_id IS NULL;
DELETE FROM training.cross_fitted_answers AS answers USING training.items
WHERE items.id = answers.item_id AND items.held_back = 'erased';
"""


def upgrade() -> None:
    for statements in (GRANTS, FORMER):
        op.execute(statements)
