"""Store the shortfalls of each evaluation and each nightly check, and a check's figures besides its accuracy.

The shortfalls of former checks are read from the text of their reasons. Former evaluations get none, because every
night makes a new evaluation.
"""

from alembic import op

revision = "schema_0005"
down_revision = "schema_0004"
branch_labels = None
depends_on = None

SHORTFALLS = """
ALTER TABLE training.evaluations ADD COLUMN shortfalls jsonb NOT NULL DEFAULT '[]';

ALTER TABLE training.monitorings ADD COLUMN shortfalls jsonb NOT NULL DEFAULT '[]';
UPDATE training.monitorings
SET shortfalls = jsonb_build_array(jsonb_build_object('label', NULL, 'value', accuracy, 'floor', told.percent / 100))
FROM (
    SELECT id, substring(array_to_string(reasons, ' ') FROM 'the floor of ([0-9.]+)%')::double precision AS percent
    FROM training.monitorings
) AS told
WHERE told.id = monitorings.id AND told.percent IS NOT NULL;
ALTER TABLE training.monitorings
    ADD COLUMN figures jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN is_below_floor boolean NOT NULL GENERATED ALWAYS AS (shortfalls <> '[]'::jsonb) STORED;
"""


def upgrade() -> None:
    op.execute(SHORTFALLS)
