"""What each night says of drift and of quality without labels."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE training.drift_checks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_version integer NOT NULL REFERENCES training.model_versions,
    night date NOT NULL DEFAULT (clock_timestamp() AT TIME ZONE 'UTC')::date,
    reference_images integer NOT NULL,
    recent_images integer NOT NULL,
    reference_features integer NOT NULL,
    recent_features integer NOT NULL,
    calibration_images integer NOT NULL,
    feedback_images integer NOT NULL,
    confidence_psi double precision,
    confidence_ks double precision,
    confidence_p_value double precision,
    class_psi double precision,
    class_p_value double precision,
    feature_mmd double precision,
    feature_p_value double precision,
    moved text[] NOT NULL,
    estimated_accuracy double precision,
    observed_accuracy double precision,
    observed_accuracy_low double precision,
    observed_accuracy_high double precision,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (model_version, night)
);

GRANT SELECT ON training.drift_checks TO web, grafana_ro;
GRANT SELECT, INSERT, UPDATE, DELETE ON training.drift_checks TO training;
"""

DOWN = "DROP TABLE training.drift_checks;"


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
