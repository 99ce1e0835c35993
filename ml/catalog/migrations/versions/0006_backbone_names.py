"""Rename trunks to backbones. Only names change."""

from alembic import op

revision = "schema_0006"
down_revision = "schema_0005"
branch_labels = None
depends_on = None

NAMES = """
ALTER TABLE training.trunks RENAME TO backbones;
ALTER TABLE training.backbones RENAME CONSTRAINT trunks_fp32_is_its_own_original TO backbones_fp32_is_its_own_original;
ALTER INDEX training.trunks_pkey RENAME TO backbones_pkey;
ALTER INDEX training.trunks_bytes RENAME TO backbones_bytes;
ALTER TABLE training.features RENAME COLUMN trunk_id TO backbone_id;
ALTER TABLE training.model_versions RENAME COLUMN trunk_id TO backbone_id;
"""


def upgrade() -> None:
    op.execute(NAMES)
