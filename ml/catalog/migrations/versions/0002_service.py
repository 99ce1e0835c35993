"""What the prediction service needs to face people: tokens, held-back labels, maintenance mode, and the grants."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE users.tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES users.accounts ON DELETE CASCADE,
    token_sha256 text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX tokens_account ON users.tokens (account_id);

-- Why an image with a label is not in the pool: somebody doubts a harvested label, or an admin took the image out.
ALTER TABLE training.images
    ADD COLUMN held_back text CHECK (held_back IN ('suspended', 'excluded')),
    ADD CONSTRAINT images_held_back_is_not_in_pool CHECK (held_back IS NULL OR entered_pool_at IS NULL);

-- Append-only: the last row says whether predictions are answered.
CREATE TABLE logs.maintenance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    is_on boolean NOT NULL,
    actor text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

GRANT SELECT, INSERT, UPDATE, DELETE ON users.tokens TO web;
GRANT SELECT, INSERT ON logs.maintenance TO web;
GRANT SELECT ON logs.maintenance TO training, grafana_ro;
-- An admin scores and promotes through the service too.
GRANT INSERT ON training.evaluations, training.evaluation_sets, training.evaluation_set_images,
    training.model_versions TO web;
GRANT INSERT, UPDATE ON training.promotions TO web;
"""

DOWN = """
REVOKE INSERT ON training.evaluations, training.evaluation_sets, training.evaluation_set_images,
    training.model_versions FROM web;
REVOKE INSERT, UPDATE ON training.promotions FROM web;
DROP TABLE logs.maintenance;
ALTER TABLE training.images DROP COLUMN held_back CASCADE;
DROP TABLE users.tokens;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
