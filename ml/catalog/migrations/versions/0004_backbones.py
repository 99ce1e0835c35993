"""Allow features of any length, and store the backbone of each trunk. All former ones are of VGG16."""

from alembic import op

revision = "schema_0004"
down_revision = "schema_0003"
branch_labels = None
depends_on = None

STATEMENTS = """
ALTER TABLE training.features DROP CONSTRAINT features_vector_check,
    ADD CONSTRAINT features_vector_check CHECK (octet_length(vector) > 0 AND octet_length(vector) % 4 = 0);

-- A recipe now contains the backbone. Without this change, former trunks and their features would be computed again.
ALTER TABLE training.trunks ADD COLUMN backbone text NOT NULL DEFAULT 'vgg16';
ALTER TABLE training.trunks ALTER COLUMN backbone DROP DEFAULT;
UPDATE training.trunks SET recipe = 'vgg16 ' || recipe;

UPDATE training.home_choices SET name = 'weights of vgg16' WHERE name = 'weights';
"""


def upgrade() -> None:
    op.execute(STATEMENTS)
