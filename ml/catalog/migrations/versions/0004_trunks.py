"""A trunk's precision, the file it was quantised from, and why it is served as it is."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Until here every trunk was fp32, and its recipe read "<weights> <size>px fp32 <preprocessing>". The roles' grants are
# on the table and cover new columns.
UP = """
ALTER TABLE training.trunks RENAME COLUMN created_at TO made_at;
ALTER TABLE training.trunks
    ADD COLUMN fp32_sha256 text,
    ADD COLUMN weights_recipe text,
    ADD COLUMN precision text CHECK (precision IN ('int8', 'fp32')),
    ADD COLUMN image_size integer,
    ADD COLUMN parity jsonb;
UPDATE training.trunks SET
    fp32_sha256 = onnx_sha256,
    weights_recipe = split_part(recipe, ' ', 1),
    precision = 'fp32',
    image_size = rtrim(split_part(recipe, ' ', 2), 'px')::integer;
ALTER TABLE training.trunks
    ALTER COLUMN fp32_sha256 SET NOT NULL,
    ALTER COLUMN weights_recipe SET NOT NULL,
    ALTER COLUMN precision SET NOT NULL,
    ALTER COLUMN image_size SET NOT NULL,
    ADD CONSTRAINT trunks_fp32_is_its_own_original CHECK (precision = 'int8' OR fp32_sha256 = onnx_sha256);
CREATE INDEX trunks_bytes ON training.trunks (onnx_sha256, made_at);
"""

# The release before knew no int8.
DOWN = """
DELETE FROM training.trunks WHERE precision = 'int8';
ALTER TABLE training.trunks
    DROP COLUMN fp32_sha256 CASCADE,
    DROP COLUMN weights_recipe,
    DROP COLUMN precision CASCADE,
    DROP COLUMN image_size,
    DROP COLUMN parity;
DROP INDEX training.trunks_bytes;
ALTER TABLE training.trunks RENAME COLUMN made_at TO created_at;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
