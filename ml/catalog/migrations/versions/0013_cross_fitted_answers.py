"""Store a training's cross-fitted answers: for each item of its snapshot, by a head that never saw its group."""

from alembic import op

revision = "schema_0013"
down_revision = "schema_0012"
branch_labels = None
depends_on = None

# The suspected class is set if the answer contradicts the label surely, with the doubt: by how much.
ANSWERS = """
CREATE TABLE training.cross_fitted_answers (
    attempt_id bigint REFERENCES training.attempts,
    item_id text REFERENCES training.items,
    probabilities real[] NOT NULL,
    suspected_class text,
    doubt real,
    PRIMARY KEY (attempt_id, item_id),
    CHECK ((suspected_class IS NULL) = (doubt IS NULL))
);
CREATE INDEX cross_fitted_answers_item ON training.cross_fitted_answers (item_id);
CREATE INDEX cross_fitted_answers_doubt ON training.cross_fitted_answers (attempt_id, doubt, item_id)
    WHERE suspected_class IS NOT NULL;
CREATE INDEX cross_fitted_answers_suspected
    ON training.cross_fitted_answers (attempt_id, suspected_class, doubt, item_id) WHERE suspected_class IS NOT NULL;
"""

GRANTS = """
GRANT SELECT ON training.cross_fitted_answers TO web, grafana_ro;
GRANT SELECT, INSERT, UPDATE, DELETE ON training.cross_fitted_answers TO training;
"""


def upgrade() -> None:
    for statements in (ANSWERS, GRANTS):
        op.execute(statements)
