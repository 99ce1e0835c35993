"""Keep what the dashboard draws in typed columns: the calibration error of each night, and the recall of each class."""

from alembic import op

revision = "schema_0023"
down_revision = "schema_0022"
branch_labels = None
depends_on = None

NIGHTS = """
ALTER TABLE training.monitorings
    ADD COLUMN calibration_error double precision
        GENERATED ALWAYS AS ((figures ->> 'calibration_error')::double precision) STORED,
    ADD COLUMN calibration_error_low double precision
        GENERATED ALWAYS AS ((figures ->> 'calibration_error_low')::double precision) STORED,
    ADD COLUMN calibration_error_high double precision
        GENERATED ALWAYS AS ((figures ->> 'calibration_error_high')::double precision) STORED;
"""

# Only a trigger writes the table. A class without images is left out: its recall is 0 by definition. So is a class of a
# task that measures no recall.
RECALLS = """
CREATE TABLE training.class_recalls (
    class_name text,
    evaluated_at timestamptz,
    evaluation_id bigint REFERENCES training.evaluations,
    model_version integer NOT NULL,
    image_count integer NOT NULL,
    recall double precision NOT NULL,
    PRIMARY KEY (class_name, evaluated_at, evaluation_id)
);

CREATE FUNCTION training.add_class_recalls() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO training.class_recalls (class_name, evaluated_at, evaluation_id, model_version, image_count, recall)
    SELECT each.label, added.evaluated_at, added.id, added.model_version,
        (each.figures ->> 'image_count')::double precision::integer, (each.figures ->> 'recall')::double precision
    FROM added, jsonb_each(added.per_class) AS each (label, figures)
    WHERE added.is_deciding AND (each.figures ->> 'image_count')::double precision >= 1
        AND each.figures ->> 'recall' <> '';
    RETURN NULL;
END $$;

CREATE TRIGGER add_class_recalls AFTER INSERT ON training.evaluations
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION training.add_class_recalls();

INSERT INTO training.class_recalls (class_name, evaluated_at, evaluation_id, model_version, image_count, recall)
SELECT each.label, evaluated_at, id, model_version,
    (each.figures ->> 'image_count')::double precision::integer, (each.figures ->> 'recall')::double precision
FROM training.evaluations, jsonb_each(per_class) AS each (label, figures)
WHERE is_deciding AND (each.figures ->> 'image_count')::double precision >= 1 AND each.figures ->> 'recall' <> '';
"""

GRANTS = "GRANT SELECT ON training.class_recalls TO web, training, grafana_ro;"


def upgrade() -> None:
    for statements in (NIGHTS, RECALLS, GRANTS):
        op.execute(statements)
