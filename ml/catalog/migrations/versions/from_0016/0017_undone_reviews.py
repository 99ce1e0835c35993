"""Index the classes of the review queues, and refresh the queues only when a decision is made or undone.

An erased account that refreshed them could wait for a decision that waits for the erasure.
"""

from alembic import op

revision = "schema_0017"
down_revision = "schema_0016"
branch_labels = None
depends_on = None

UNDONE = """
DROP TRIGGER review_decisions_changed ON training.review_decisions;
CREATE FUNCTION training.review_undone() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
    changed text[];
BEGIN
    SELECT array_agg(DISTINCT after.item_id) INTO changed FROM before JOIN after ON before.id = after.id
    WHERE after.queue = 'suspected' AND before.undone_at IS DISTINCT FROM after.undone_at;
    IF changed IS NOT NULL THEN
        PERFORM training.refresh_review_entries(changed);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER review_decisions_undone AFTER UPDATE ON training.review_decisions
    REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION training.review_undone();
"""


# Finds whether any model has named a class, without reading a queue.
CLASSES = """
CREATE INDEX review_entries_class_name ON training.review_entries (class_name);
"""


def upgrade() -> None:
    for statements in (UNDONE, CLASSES):
        op.execute(statements)
