"""Indexes for what admins and account owners ask of the service."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# GET /data/query reads pages of (received_at, sha256), newest first. The evaluation set, the only split that is small,
# has `images_evaluation`; the other splits are so large that the first index finds a page of them at once.
UP = """
-- No filter, a time range, or one that most images pass.
CREATE INDEX images_received ON training.images (received_at, sha256);
-- A label.
CREATE INDEX images_received_of_label ON training.images (label, received_at, sha256);
-- An origin: people's labels can be few among the harvested, or the other way round.
CREATE INDEX images_received_of_origin ON training.images (label_origin, received_at, sha256);
-- What waits for an admin, or was taken out: few rows.
CREATE INDEX images_held_back ON training.images (held_back, received_at, sha256) WHERE held_back IS NOT NULL;
-- GET /user/data reads pages of what one account did, oldest first, among what all accounts and the nights did.
-- DELETE /user looks for the account in predictions and feedback.
CREATE INDEX events_actor ON logs.events (actor, id);
CREATE INDEX labels_said_by ON training.labels (said_by, id);
CREATE INDEX feedback_account ON logs.feedback (account_id, id);
DROP INDEX logs.predictions_account;
CREATE INDEX predictions_account ON logs.predictions (account_id, id);
"""

DOWN = """
DROP INDEX logs.predictions_account;
CREATE INDEX predictions_account ON logs.predictions (account_id);
DROP INDEX logs.feedback_account, training.labels_said_by, logs.events_actor, training.images_held_back,
    training.images_received_of_origin, training.images_received_of_label, training.images_received;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
