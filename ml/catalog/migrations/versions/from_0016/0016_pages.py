"""The web pages: the key that signs their forms, and what people say instead of the name of a class."""

from alembic import op

revision = "schema_0016"
down_revision = "schema_0015"
branch_labels = None
depends_on = None

# All processes of the service share the key. Two random UUIDs have 244 random bits.
KEYS = """
CREATE TABLE users.page_keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO users.page_keys (key) VALUES (replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));
GRANT SELECT ON users.page_keys TO web;
"""

FEEDBACK = """
ALTER TABLE logs.feedback
    ADD COLUMN instead text CHECK (instead IN ('other', 'none', 'unsure')),
    ADD COLUMN proposed_name text CHECK (char_length(proposed_name) BETWEEN 1 AND 200),
    ADD CONSTRAINT feedback_instead_of_a_class CHECK (instead IS NULL OR verdict = 'nok' AND corrected_label IS NULL),
    ADD CONSTRAINT feedback_name_is_of_another CHECK (proposed_name IS NULL OR instead IS NOT DISTINCT FROM 'other');
"""


def upgrade() -> None:
    for statements in (KEYS, FEEDBACK):
        op.execute(statements)
