"""The three schemas, their tables, and the database roles with the grants each needs."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

USERS = """
CREATE SCHEMA users;

CREATE TABLE users.accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login text NOT NULL UNIQUE CHECK (login ~ '^[a-z0-9][a-z0-9._@-]{0,63}$'),
    password_hash text NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'expert', 'admin')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at timestamptz
);
"""

TRAINING = """
CREATE SCHEMA training;

CREATE TABLE training.images (
    sha256 text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    group_key text NOT NULL,
    source text NOT NULL,
    media_type text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    byte_count integer NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    split text CHECK (split IN ('pool', 'evaluation')),
    evaluation_part text CHECK (evaluation_part IN ('anchor', 'recent')),
    label text,
    label_origin text CHECK (label_origin IN ('curated', 'confirmed', 'harvested')),
    entered_pool_at timestamptz,
    CHECK ((split = 'evaluation') IS TRUE = (evaluation_part IS NOT NULL)),
    CHECK ((label IS NULL) = (label_origin IS NULL)),
    CHECK (split IS DISTINCT FROM 'evaluation' OR label_origin IN ('curated', 'confirmed')),
    CHECK (entered_pool_at IS NULL OR (split = 'pool' AND label IS NOT NULL))
);
-- The night asks three things again and again: the newest N, how many since, and the newest N of a class.
CREATE INDEX images_newest ON training.images (entered_pool_at DESC, sha256)
    INCLUDE (label, label_origin, group_key) WHERE entered_pool_at IS NOT NULL;
CREATE INDEX images_newest_of_label ON training.images (label, entered_pool_at DESC, sha256)
    INCLUDE (label_origin, group_key) WHERE entered_pool_at IS NOT NULL;
CREATE INDEX images_evaluation ON training.images (evaluation_part, received_at DESC, sha256)
    WHERE split = 'evaluation';
CREATE INDEX images_group ON training.images (group_key);

CREATE TABLE training.labels (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    image_sha256 text NOT NULL REFERENCES training.images,
    label text NOT NULL,
    origin text NOT NULL CHECK (origin IN ('curated', 'confirmed', 'harvested')),
    said_by text NOT NULL,
    said_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX labels_image ON training.labels (image_sha256);

CREATE TABLE training.snapshots (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cutoff timestamptz NOT NULL,
    requested_size integer NOT NULL,
    strategy text NOT NULL,
    classes text[] NOT NULL,
    pool_state text NOT NULL
);

CREATE TABLE training.snapshot_images (
    snapshot_id bigint REFERENCES training.snapshots,
    image_sha256 text REFERENCES training.images,
    label text NOT NULL,
    label_origin text NOT NULL,
    fold text NOT NULL CHECK (fold IN ('train', 'validation')),
    PRIMARY KEY (snapshot_id, image_sha256)
);

CREATE TABLE training.attempts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    request_key text NOT NULL UNIQUE,
    reason text NOT NULL,
    parameters jsonb NOT NULL,
    snapshot_id bigint NOT NULL REFERENCES training.snapshots,
    mlflow_run_id text,
    model_version integer UNIQUE,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
);

CREATE TABLE training.trunks (
    recipe text PRIMARY KEY,
    onnx_sha256 text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE training.features (
    image_sha256 text REFERENCES training.images,
    trunk_id text,
    view text DEFAULT 'identity',
    vector bytea NOT NULL CHECK (octet_length(vector) = 2048),
    PRIMARY KEY (image_sha256, trunk_id, view)
);

CREATE TABLE training.model_versions (
    version integer PRIMARY KEY,
    mlflow_run_id text NOT NULL,
    snapshot_id bigint REFERENCES training.snapshots,
    trunk_id text NOT NULL,
    classes text[] NOT NULL,
    image_size integer NOT NULL,
    precision text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE training.evaluation_sets (
    version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    content_sha256 text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE training.evaluation_set_images (
    version bigint REFERENCES training.evaluation_sets,
    image_sha256 text REFERENCES training.images,
    label text NOT NULL,
    part text NOT NULL CHECK (part IN ('anchor', 'recent')),
    PRIMARY KEY (version, image_sha256)
);

CREATE TABLE training.evaluations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_version integer NOT NULL REFERENCES training.model_versions,
    evaluation_set_version bigint NOT NULL REFERENCES training.evaluation_sets,
    part text NOT NULL CHECK (part IN ('anchor', 'recent')),
    is_deciding boolean NOT NULL,
    image_count integer NOT NULL,
    accuracy double precision NOT NULL,
    precision_macro double precision NOT NULL,
    recall_macro double precision NOT NULL,
    f1_macro double precision NOT NULL,
    per_class jsonb NOT NULL,
    confusion jsonb NOT NULL,
    evaluated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX evaluations_latest ON training.evaluations (model_version, evaluated_at DESC);

CREATE TABLE training.verdicts (
    attempt_id bigint PRIMARY KEY REFERENCES training.attempts,
    model_version integer NOT NULL REFERENCES training.model_versions,
    champion_version integer,
    evaluation_set_version bigint NOT NULL REFERENCES training.evaluation_sets,
    decision text NOT NULL CHECK (decision IN ('promote', 'keep')),
    reasons text[] NOT NULL,
    warnings text[] NOT NULL,
    challenger_accuracy double precision NOT NULL,
    champion_accuracy double precision,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE training.promotions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('promotion', 'rollback', 'external', 'release')),
    from_version integer,
    to_version integer,
    actor text NOT NULL,
    reason text NOT NULL,
    intended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    completed_at timestamptz
);

CREATE TABLE training.monitorings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_version integer NOT NULL REFERENCES training.model_versions,
    evaluation_set_version bigint NOT NULL REFERENCES training.evaluation_sets,
    accuracy double precision NOT NULL,
    new_images_human integer NOT NULL,
    new_images_harvested integer NOT NULL,
    is_retraining_requested boolean NOT NULL,
    reasons text[] NOT NULL,
    monitored_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

LOGS = """
CREATE SCHEMA logs;

CREATE TABLE logs.results (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    image_sha256 text NOT NULL REFERENCES training.images,
    model_version integer NOT NULL,
    probabilities real[] NOT NULL,
    computed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (image_sha256, model_version)
);

CREATE TABLE logs.predictions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    result_id bigint NOT NULL REFERENCES logs.results,
    account_id bigint REFERENCES users.accounts ON DELETE SET NULL,
    is_cached boolean NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX predictions_account ON logs.predictions (account_id);
CREATE INDEX predictions_result ON logs.predictions (result_id);

CREATE TABLE logs.feedback (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prediction_id bigint NOT NULL REFERENCES logs.predictions,
    account_id bigint REFERENCES users.accounts ON DELETE SET NULL,
    verdict text NOT NULL CHECK (verdict IN ('ok', 'nok')),
    corrected_label text,
    given_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX feedback_prediction ON logs.feedback (prediction_id);

CREATE TABLE logs.events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    actor text NOT NULL,
    detail jsonb NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX events_newest ON logs.events (happened_at DESC);
"""

# Roles belong to the server, not to a database: another database of the same server may have made them already.
ROLES = """
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['web', 'training', 'grafana_ro'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END $$;

-- The service: accounts, its own logs, and images that arrive with predictions. It never trains.
GRANT USAGE ON SCHEMA users, training, logs TO web;
GRANT SELECT, INSERT, UPDATE, DELETE ON users.accounts TO web;
GRANT SELECT ON ALL TABLES IN SCHEMA training TO web;
GRANT INSERT, UPDATE ON training.images TO web;
GRANT INSERT ON training.labels, training.features TO web;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA logs TO web;
GRANT SELECT ON public.alembic_version TO web;

-- The nights: everything about training, results of scoring, and nothing of the accounts.
GRANT USAGE ON SCHEMA training, logs TO training;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA training TO training;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA logs TO training;
GRANT SELECT ON public.alembic_version TO training;

-- Dashboards: figures, never who.
GRANT USAGE ON SCHEMA training, logs TO grafana_ro;
GRANT SELECT ON ALL TABLES IN SCHEMA training, logs TO grafana_ro;
"""


def upgrade() -> None:
    for statements in (USERS, TRAINING, LOGS, ROLES):
        op.execute(statements)


def downgrade() -> None:
    # The roles stay: other databases of the server may use them.
    op.execute("DROP SCHEMA logs CASCADE; DROP SCHEMA training CASCADE; DROP SCHEMA users CASCADE;")
