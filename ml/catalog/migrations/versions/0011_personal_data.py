"""Accounts erase their photos, and have quotas."""

from alembic import op

revision = "schema_0011"
down_revision = "schema_0010"
branch_labels = None
depends_on = None

# A tombstone: the row of an item whose photo was erased. Its photo's row goes last, after the bytes.
ERASED = """
ALTER TABLE training.items DROP CONSTRAINT items_held_back_check, ADD CONSTRAINT items_held_back_check
    CHECK (held_back IN ('suspended', 'excluded', 'waiting', 'copy', 'superseded', 'erased'));
ALTER TABLE training.items ADD CONSTRAINT items_erased_is_in_no_split
    CHECK (held_back IS DISTINCT FROM 'erased' OR (split IS NULL AND class_names IS NULL));
ALTER TABLE training.items DROP CONSTRAINT items_id_is_hash_of_parts,
    ADD CONSTRAINT items_id_is_hash_of_parts CHECK (held_back IS NOT DISTINCT FROM 'erased'
    OR id IS NOT DISTINCT FROM CASE
        WHEN text_sha256 IS NULL THEN image_sha256
        WHEN image_sha256 IS NULL THEN text_sha256
        ELSE encode(sha256(image_sha256::bytea || '\\x00'::bytea || text_sha256::bytea), 'hex')
    END);
"""

QUOTAS = """
ALTER TABLE training.images ADD COLUMN account_id bigint REFERENCES users.accounts ON DELETE SET NULL;
CREATE INDEX images_account ON training.images (account_id) INCLUDE (byte_count) WHERE account_id IS NOT NULL;
"""

GRANTS = """
GRANT UPDATE (account_id) ON training.images, training.harvests, logs.predictions, logs.feedback TO web;
GRANT DELETE ON training.images, training.features, training.harvests TO web;
"""


def upgrade() -> None:
    for statements in (ERASED, QUOTAS, GRANTS):
        op.execute(statements)
