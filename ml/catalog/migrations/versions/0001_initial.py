"""Create the schemas, their tables, and the database roles with their grants.

Later migrations are appended, and have no downgrade. A migration that creates a table also grants it to the roles.
"""

from alembic import op

revision = "schema_0001"  # not "0001": checkouts before this file had the migrations 0001 to 0009
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

CREATE TABLE users.tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES users.accounts ON DELETE CASCADE,
    token_sha256 text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX tokens_account ON users.tokens (account_id);
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
    -- `stated` is the label of a source. It waits for a person's decision.
    label_origin text CHECK (label_origin IN ('curated', 'confirmed', 'harvested', 'stated')),
    entered_pool_at timestamptz,
    -- The reason why an image with a label is not in the pool. Feedback contradicts its harvested label, an admin
    -- excluded it, or it waits for certification.
    held_back text CHECK (held_back IN ('suspended', 'excluded', 'waiting')),
    CHECK ((split = 'evaluation') IS TRUE = (evaluation_part IS NOT NULL)),
    CHECK ((label IS NULL) = (label_origin IS NULL)),
    CHECK (split IS DISTINCT FROM 'evaluation' OR label_origin IN ('curated', 'confirmed')),
    CHECK (entered_pool_at IS NULL OR (split = 'pool' AND label IS NOT NULL)),
    CONSTRAINT images_held_back_is_not_in_pool CHECK (held_back IS NULL OR entered_pool_at IS NULL),
    CONSTRAINT images_stated_is_in_no_split CHECK (label_origin IS DISTINCT FROM 'stated' OR split IS NULL)
);
-- Every night runs three queries: the newest N, the number since a moment, and the newest N of a class.
CREATE INDEX images_newest ON training.images (entered_pool_at DESC, sha256)
    INCLUDE (label, label_origin, group_key) WHERE entered_pool_at IS NOT NULL;
CREATE INDEX images_newest_of_label ON training.images (label, entered_pool_at DESC, sha256)
    INCLUDE (label_origin, group_key) WHERE entered_pool_at IS NOT NULL;
CREATE INDEX images_evaluation ON training.images (evaluation_part, received_at DESC, sha256)
    WHERE split = 'evaluation';
CREATE INDEX images_group ON training.images (group_key);
-- GET /data/query reads pages by (received_at, sha256), newest first. The evaluation set is small, and has the index
-- `images_evaluation`. The other splits are so large that the next index finds a page quickly.
-- For no filter, a time range, or a filter that most images pass.
CREATE INDEX images_received ON training.images (received_at, sha256);
-- For a filter by label.
CREATE INDEX images_received_of_label ON training.images (label, received_at, sha256);
-- For a filter by origin, because an origin may be rare.
CREATE INDEX images_received_of_origin ON training.images (label_origin, received_at, sha256);
-- For a filter by held_back, which few images pass.
CREATE INDEX images_held_back ON training.images (held_back, received_at, sha256) WHERE held_back IS NOT NULL;

CREATE TABLE training.image_rights (
    image_sha256 text PRIMARY KEY REFERENCES training.images ON DELETE CASCADE,
    licence text NOT NULL,
    holder text NOT NULL
);

CREATE TABLE training.perceptual_hashes (
    image_sha256 text PRIMARY KEY REFERENCES training.images ON DELETE CASCADE,
    phash bigint NOT NULL
);

CREATE TABLE training.labels (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    image_sha256 text NOT NULL REFERENCES training.images,
    label text NOT NULL,
    origin text NOT NULL CHECK (origin IN ('curated', 'confirmed', 'harvested')),
    said_by text NOT NULL,
    said_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX labels_image ON training.labels (image_sha256);
-- GET /user/data reads pages of one account's labels, and of its events and predictions below, oldest first.
CREATE INDEX labels_said_by ON training.labels (said_by, id);

CREATE TABLE training.ingest_batches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL,
    is_quarantined boolean NOT NULL,
    reject_share double precision NOT NULL,
    contact_sheet_key text,
    ingested_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ingest_batches_source ON training.ingest_batches (source, id);

CREATE TABLE training.ingest_files (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id bigint NOT NULL REFERENCES training.ingest_batches ON DELETE CASCADE,
    name text NOT NULL,
    version text NOT NULL,
    label text,
    outcome text NOT NULL CHECK (outcome IN ('entered', 'waiting', 'duplicate', 'rejected')),
    reason text,
    message text,
    image_sha256 text REFERENCES training.images ON DELETE SET NULL,
    CHECK (outcome <> 'rejected' OR (reason IS NOT NULL AND message IS NOT NULL))
);
-- For the files of a batch, the known files of a source, and the source of an image.
CREATE INDEX ingest_files_batch ON training.ingest_files (batch_id, id);
CREATE INDEX ingest_files_name ON training.ingest_files (name);
CREATE INDEX ingest_files_image ON training.ingest_files (image_sha256);

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

CREATE TABLE training.home_choices (
    name text PRIMARY KEY,
    value text NOT NULL,
    reason text NOT NULL,
    chosen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE training.trunks (
    recipe text PRIMARY KEY,
    onnx_sha256 text NOT NULL,
    fp32_sha256 text NOT NULL,
    weights_recipe text NOT NULL,
    precision text NOT NULL CHECK (precision IN ('int8', 'fp32')),
    image_size integer NOT NULL,
    parity jsonb,
    made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT trunks_fp32_is_its_own_original CHECK (precision = 'int8' OR fp32_sha256 = onnx_sha256)
);
CREATE INDEX trunks_bytes ON training.trunks (onnx_sha256, made_at);

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
"""

# Optuna's tables for the studies of `tune_hyperparameters`, as Optuna 5.0 creates them. So the role `training` does not
# have to create tables. A test compares them with the tables of the installed Optuna.
TUNING = """
CREATE SCHEMA tuning;

CREATE TYPE tuning.studydirection AS ENUM ('NOT_SET', 'MINIMIZE', 'MAXIMIZE');
CREATE TYPE tuning.trialstate AS ENUM ('RUNNING', 'COMPLETE', 'PRUNED', 'FAIL', 'WAITING');
CREATE TYPE tuning.trialvaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG');
CREATE TYPE tuning.trialintermediatevaluetype AS ENUM ('FINITE', 'INF_POS', 'INF_NEG', 'NAN');

CREATE TABLE tuning.studies (
    study_id SERIAL NOT NULL,
    study_name VARCHAR(512) NOT NULL,
    PRIMARY KEY (study_id)
);
CREATE UNIQUE INDEX ix_studies_study_name ON tuning.studies (study_name);

CREATE TABLE tuning.version_info (
    version_info_id INTEGER NOT NULL,
    schema_version INTEGER,
    library_version VARCHAR(256),
    PRIMARY KEY (version_info_id),
    CHECK (version_info_id=1)
);

CREATE TABLE tuning.study_directions (
    study_direction_id SERIAL NOT NULL,
    direction tuning.studydirection NOT NULL,
    study_id INTEGER NOT NULL,
    objective INTEGER NOT NULL,
    PRIMARY KEY (study_direction_id),
    UNIQUE (study_id, objective),
    FOREIGN KEY(study_id) REFERENCES tuning.studies (study_id)
);

CREATE TABLE tuning.study_user_attributes (
    study_user_attribute_id SERIAL NOT NULL,
    study_id INTEGER,
    key VARCHAR(512),
    value_json TEXT,
    PRIMARY KEY (study_user_attribute_id),
    UNIQUE (study_id, key),
    FOREIGN KEY(study_id) REFERENCES tuning.studies (study_id)
);

CREATE TABLE tuning.study_system_attributes (
    study_system_attribute_id SERIAL NOT NULL,
    study_id INTEGER,
    key VARCHAR(512),
    value_json TEXT,
    PRIMARY KEY (study_system_attribute_id),
    UNIQUE (study_id, key),
    FOREIGN KEY(study_id) REFERENCES tuning.studies (study_id)
);

CREATE TABLE tuning.trials (
    trial_id SERIAL NOT NULL,
    number INTEGER,
    study_id INTEGER,
    state tuning.trialstate NOT NULL,
    datetime_start TIMESTAMP WITHOUT TIME ZONE,
    datetime_complete TIMESTAMP WITHOUT TIME ZONE,
    PRIMARY KEY (trial_id),
    FOREIGN KEY(study_id) REFERENCES tuning.studies (study_id)
);
CREATE INDEX ix_trials_study_id ON tuning.trials (study_id);

CREATE TABLE tuning.trial_user_attributes (
    trial_user_attribute_id SERIAL NOT NULL,
    trial_id INTEGER,
    key VARCHAR(512),
    value_json TEXT,
    PRIMARY KEY (trial_user_attribute_id),
    UNIQUE (trial_id, key),
    FOREIGN KEY(trial_id) REFERENCES tuning.trials (trial_id)
);

CREATE TABLE tuning.trial_system_attributes (
    trial_system_attribute_id SERIAL NOT NULL,
    trial_id INTEGER,
    key VARCHAR(512),
    value_json TEXT,
    PRIMARY KEY (trial_system_attribute_id),
    UNIQUE (trial_id, key),
    FOREIGN KEY(trial_id) REFERENCES tuning.trials (trial_id)
);

CREATE TABLE tuning.trial_params (
    param_id SERIAL NOT NULL,
    trial_id INTEGER,
    param_name VARCHAR(512),
    param_value FLOAT(53),
    distribution_json TEXT,
    PRIMARY KEY (param_id),
    UNIQUE (trial_id, param_name),
    FOREIGN KEY(trial_id) REFERENCES tuning.trials (trial_id)
);

CREATE TABLE tuning.trial_values (
    trial_value_id SERIAL NOT NULL,
    trial_id INTEGER NOT NULL,
    objective INTEGER NOT NULL,
    value FLOAT(53),
    value_type tuning.trialvaluetype NOT NULL,
    PRIMARY KEY (trial_value_id),
    UNIQUE (trial_id, objective),
    FOREIGN KEY(trial_id) REFERENCES tuning.trials (trial_id)
);

CREATE TABLE tuning.trial_intermediate_values (
    trial_intermediate_value_id SERIAL NOT NULL,
    trial_id INTEGER NOT NULL,
    step INTEGER NOT NULL,
    intermediate_value FLOAT(53),
    intermediate_value_type tuning.trialintermediatevaluetype NOT NULL,
    PRIMARY KEY (trial_intermediate_value_id),
    UNIQUE (trial_id, step),
    FOREIGN KEY(trial_id) REFERENCES tuning.trials (trial_id)
);

CREATE TABLE tuning.trial_heartbeats (
    trial_heartbeat_id SERIAL NOT NULL,
    trial_id INTEGER NOT NULL,
    heartbeat TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    PRIMARY KEY (trial_heartbeat_id),
    UNIQUE (trial_id),
    FOREIGN KEY(trial_id) REFERENCES tuning.trials (trial_id)
);

-- Optuna reads the version of its tables here.
CREATE TABLE tuning.alembic_version (version_num VARCHAR(32) PRIMARY KEY);
INSERT INTO tuning.alembic_version VALUES ('v3.2.0.a');
INSERT INTO tuning.version_info VALUES (1, 12, '5.0.0');
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
CREATE INDEX predictions_account ON logs.predictions (account_id, id);
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
CREATE INDEX feedback_account ON logs.feedback (account_id, id);

CREATE TABLE logs.events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    actor text NOT NULL,
    detail jsonb NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX events_newest ON logs.events (happened_at DESC);
CREATE INDEX events_actor ON logs.events (actor, id);

-- Append-only: the last row says whether predictions are answered.
CREATE TABLE logs.maintenance (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    is_on boolean NOT NULL,
    actor text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The outbox.
CREATE TABLE logs.alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('below_floor', 'new_images', 'retraining_failed', 'retraining_overdue',
        'quarantine', 'promotion_waiting', 'promoted', 'rolled_back', 'moved_externally')),
    event_key text NOT NULL UNIQUE,
    title text NOT NULL,
    body text NOT NULL,
    raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    sent_to text[] NOT NULL DEFAULT '{}',
    tries integer NOT NULL DEFAULT 0,
    last_error text
);
CREATE INDEX alerts_unsent ON logs.alerts (tries, id) WHERE sent_at IS NULL;
"""

# Roles belong to the whole server: the migration of another database on it may have created them already.
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
"""

GRANTS = """
-- All roles may read the migration of the database.
GRANT SELECT ON public.alembic_version TO web, training, grafana_ro;

-- The service writes accounts, its own logs, and images of predictions. It never trains.
GRANT USAGE ON SCHEMA users, training, logs TO web;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA users TO web;
GRANT SELECT ON ALL TABLES IN SCHEMA training TO web;
GRANT INSERT, UPDATE ON training.images TO web;
GRANT INSERT ON training.labels, training.features TO web;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA logs TO web;
-- The service also scores and promotes, when an admin requests it.
GRANT INSERT ON training.evaluations, training.evaluation_sets, training.evaluation_set_images,
    training.model_versions TO web;
GRANT INSERT, UPDATE ON training.promotions TO web;

-- The nightly DAGs write all training data and the results of scoring. They cannot read accounts.
GRANT USAGE ON SCHEMA training, tuning, logs TO training;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA training TO training;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA logs TO training;
REVOKE INSERT ON logs.maintenance FROM training;
-- The service also raises alerts (a rollback, an alias moved by hand), but only this role sends them.
GRANT UPDATE ON logs.alerts TO training;
-- Only this role searches hyperparameters. It deletes nothing from a study, and only the owner changes the tables.
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA tuning TO training;
REVOKE INSERT, UPDATE ON tuning.alembic_version, tuning.version_info FROM training;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA tuning TO training;

-- Dashboards read figures, but no data about people, such as the holders of images' rights.
GRANT USAGE ON SCHEMA training, logs TO grafana_ro;
GRANT SELECT ON ALL TABLES IN SCHEMA training, logs TO grafana_ro;
REVOKE SELECT ON training.image_rights FROM grafana_ro;
"""


def upgrade() -> None:
    for statements in (USERS, TRAINING, TUNING, LOGS, ROLES, GRANTS):
        op.execute(statements)
