"""Count a queue's classes on a small index, and let a new answer change the queue of uncertain answers alone."""

from alembic import op

revision = "schema_0018"
down_revision = "schema_0017"
branch_labels = None
depends_on = None

# With two short columns that repeat, PostgreSQL stores each value once.
COUNTS = """
CREATE INDEX review_entries_counts ON training.review_entries (queue, class_name);
"""

# As training.refresh_review_entries does: an answer is the latest one when it is stored.
RESULTS = """
CREATE OR REPLACE FUNCTION training.review_results() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO training.review_entries (queue, item_id, class_name, rank, result_id)
    SELECT DISTINCT ON (items.id) 'uncertain', items.id, after.top_class, after.margin, after.id
    FROM after JOIN training.items ON items.id = after.item_id
    WHERE items.split IS NULL AND items.class_names IS NULL AND items.held_back IS NULL
        AND items.image_sha256 IS NOT NULL
    ORDER BY items.id, after.id DESC
    ON CONFLICT (queue, item_id) DO UPDATE
    SET class_name = excluded.class_name, rank = excluded.rank, result_id = excluded.result_id;
    RETURN NULL;
END $$;
"""


def upgrade() -> None:
    for statements in (COUNTS, RESULTS):
        op.execute(statements)
