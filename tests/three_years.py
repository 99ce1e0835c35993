"""A database as three years of nights leave it: 1095 checks, a promotion a month, and a rollback."""

import sqlalchemy as sa

NIGHTS = 1095
FIRST_CLASS = "Amanita <b>muscaria</b> & \"friends\" '1'"

_ROWS = """
INSERT INTO training.model_versions (version, mlflow_run_id, backbone_id, classes, image_size, precision)
SELECT n, 'run' || n, repeat('0', 64) || '\\:1', CAST(:classes AS text[]), 32, 'fp32' FROM generate_series(1, 37) AS n;
INSERT INTO training.evaluation_sets (content_sha256) VALUES ('three years');
INSERT INTO training.promotions (kind, from_version, to_version, actor, reason, intended_at, completed_at)
SELECT CASE WHEN n % 12 = 7 THEN 'rollback' ELSE 'promotion' END, n - 1, CASE WHEN n % 12 = 7 THEN n - 2 ELSE n END,
    'test', 'Because.', at, at
FROM generate_series(1, 37) AS n,
    LATERAL (SELECT date_trunc('day', now()) - (1096 - 30 * (n - 1)) * interval '1 day' AS at) AS moved;
CREATE TEMPORARY TABLE nights AS
SELECT n, at, 0.82 + 0.08 * sin(n / 60.0) + 0.01 * sin(n * 7.0) - CASE WHEN n % 200 > 190 THEN 0.15 ELSE 0 END AS share,
    (SELECT to_version FROM training.promotions WHERE completed_at <= at ORDER BY id DESC LIMIT 1) AS version
FROM generate_series(1, :nights) AS n,
    LATERAL (SELECT date_trunc('day', now()) - (:nights - n) * interval '1 day' + interval '2 hours' AS at) AS moment
WHERE n % 97 <> 0;
INSERT INTO training.evaluations (model_version, evaluation_set_version, part, is_deciding, image_count, main_figure,
    accuracy, per_class, confusion, shortfalls, evaluated_at)
SELECT version, (SELECT max(version) FROM training.evaluation_sets), part, part = 'recent', 372, share, share,
    (SELECT jsonb_object_agg(label, jsonb_build_object('image_count', 10, 'recall', least(1, share + k * 0.01),
        'precision', share, 'f1', share)) FROM unnest(CAST(:classes AS text[])) WITH ORDINALITY AS each (label, k)),
    NULL,
    CASE WHEN share < 0.7 THEN jsonb_build_array(jsonb_build_object('label', NULL, 'value', share, 'floor', 0.7,
        'figure', 'accuracy')) ELSE '[]' END,
    at
FROM nights, unnest(ARRAY['anchor', 'recent']) AS part;
INSERT INTO training.monitorings (model_version, evaluation_set_version, main_figure, new_images_human,
    new_images_harvested, is_retraining_requested, reasons, figures, monitored_at)
SELECT version, (SELECT max(version) FROM training.evaluation_sets), share, n % 30 * 15, n % 30 * 3, n % 30 = 29, '{}',
    jsonb_build_object('calibration_error', 0.04, 'calibration_error_low', 0.02, 'calibration_error_high', 0.07), at
FROM nights;
INSERT INTO training.drift_checks (model_version, night, reference_images, recent_images, reference_features,
    recent_features, calibration_images, feedback_images, confidence_psi, confidence_ks, confidence_p_value, class_psi,
    class_p_value, feature_mmd, feature_p_value, novel_share, novelty_p_value, moved, estimated_accuracy,
    observed_accuracy, observed_accuracy_low, observed_accuracy_high, checked_at)
SELECT version, at::date, 200, 300, 200, 300, 150, 80, 0.1 + 0.09 * sin(n / 20.0), 0.05, 0.3, 0.12, 0.4, 0.01, 0.2,
    0.06, 0.5, '{}', share - 0.02, share + 0.01, share - 0.05, share + 0.04, at
FROM nights;
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
SELECT encode(sha256(n::text::bytea), 'hex'), 'image/png', 32, 32, 100 FROM generate_series(1, :images) AS n;
INSERT INTO training.items (id, image_sha256, group_key, source, split, class_names, label_origin, entered_pool_at,
    received_at)
SELECT sha256, sha256, sha256, 'test', 'pool',
    ARRAY[(CAST(:classes AS text[]))[1 + least(n % :count, n * 7 % :count)]],
    (ARRAY['curated', 'confirmed', 'harvested'])[1 + n % 3], at, at
FROM generate_series(1, :images) AS n, encode(sha256(n::text::bytea), 'hex') AS sha256,
    LATERAL (SELECT now() - (:images - n) * (:nights * interval '1 day' / :images) AS at) AS moment;
INSERT INTO logs.results (item_id, model_version, probabilities, top_class, confidence, margin, computed_at)
SELECT id, 1, '{}', class_names[1], 0.5 + 0.49 * abs(sin(row_number() OVER ())), 0.1, received_at FROM training.items;
INSERT INTO logs.predictions (result_id, is_cached, requested_at)
SELECT results.id, k > 1, computed_at + k * interval '1 hour' FROM logs.results, generate_series(1, :repeats) AS k;
INSERT INTO logs.feedback (prediction_id, verdict, given_at)
SELECT id, CASE WHEN id % 7 = 0 THEN 'nok' ELSE 'ok' END, requested_at FROM logs.predictions WHERE id % 5 = 0;
DROP TABLE nights;
"""


def fill(connection: sa.Connection, class_count: int = 20, images: int = 5000, repeats: int = 2) -> None:
    """Write the rows. Args: images, of the pool, each answered once; repeats, predictions of each answer."""
    classes = [FIRST_CLASS, *(f"class {number}" for number in range(2, class_count + 1))]
    values = {"nights": NIGHTS, "classes": classes, "images": images, "repeats": repeats, "count": class_count}
    for statement in filter(str.strip, _ROWS.split(";\n")):
        connection.execute(sa.text(statement), {k: v for k, v in values.items() if f":{k}" in statement})
