"""Store the answers and figures of any task. Values that are sorted, filtered or drawn get a column of their own."""

from alembic import op

revision = "schema_0008"
down_revision = "schema_0007"
branch_labels = None
depends_on = None

ANSWERS = """
ALTER TABLE logs.results ADD COLUMN top_class text, ADD COLUMN confidence real, ADD COLUMN margin real,
    ADD COLUMN novelty real, ADD COLUMN answer jsonb;

UPDATE logs.results SET confidence = ranked.first, margin = ranked.first - coalesce(ranked.second, 0),
    top_class = ranked.classes[ranked.place]
FROM (
    SELECT known.id, model_versions.classes, best.first, best.second, best.place
    FROM logs.results AS known
    LEFT JOIN training.model_versions ON model_versions.version = known.model_version
    CROSS JOIN LATERAL (
        SELECT max(probability) FILTER (WHERE rank = 1) AS first, max(probability) FILTER (WHERE rank = 2) AS second,
            max(place) FILTER (WHERE rank = 1) AS place
        FROM (
            SELECT probability, place, row_number() OVER (ORDER BY probability DESC, place) AS rank
            FROM unnest(known.probabilities) WITH ORDINALITY AS each (probability, place)
        ) AS numbered
    ) AS best
) AS ranked
WHERE ranked.id = results.id;

ALTER TABLE logs.results ALTER COLUMN confidence SET NOT NULL, ALTER COLUMN margin SET NOT NULL;
CREATE INDEX results_top_class ON logs.results (model_version, top_class);
CREATE INDEX results_confidence ON logs.results (model_version, confidence);
CREATE INDEX results_margin ON logs.results (model_version, margin);
CREATE INDEX results_novelty ON logs.results (model_version, novelty) WHERE novelty IS NOT NULL;
"""

FIGURES = """
ALTER TABLE training.evaluations ADD COLUMN main_figure double precision,
    ADD COLUMN figures jsonb NOT NULL DEFAULT '{}';
UPDATE training.evaluations SET main_figure = accuracy;
ALTER TABLE training.evaluations ALTER COLUMN main_figure SET NOT NULL,
    ALTER COLUMN accuracy DROP NOT NULL, ALTER COLUMN precision_macro DROP NOT NULL,
    ALTER COLUMN recall_macro DROP NOT NULL, ALTER COLUMN f1_macro DROP NOT NULL,
    ALTER COLUMN confusion DROP NOT NULL;
ALTER TABLE training.monitorings RENAME COLUMN accuracy TO main_figure;
ALTER TABLE training.verdicts RENAME COLUMN challenger_accuracy TO challenger_figure;
ALTER TABLE training.verdicts RENAME COLUMN champion_accuracy TO champion_figure;
"""

# A home that has trained used the only task and the only model name that existed.
HOME = """
INSERT INTO training.home_choices (name, value, reason)
SELECT name, value, 'There was no other before.'
FROM (VALUES ('task', 'classification'), ('model name', 'mycoflow')) AS chosen (name, value)
WHERE EXISTS (SELECT FROM training.attempts) OR EXISTS (SELECT FROM training.model_versions);
"""


def upgrade() -> None:
    for statements in (ANSWERS, FIGURES, HOME):
        op.execute(statements)
