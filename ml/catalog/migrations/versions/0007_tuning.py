"""Optuna's tables: the studies of `tune_hyperparameters`.

They are written down as Optuna 5.0 makes them, so that the nights' role may use them and make none. A test compares
them with what the installed Optuna would make.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = """
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

-- Optuna looks here for the version of its tables.
CREATE TABLE tuning.alembic_version (version_num VARCHAR(32) PRIMARY KEY);
INSERT INTO tuning.alembic_version VALUES ('v3.2.0.a');
INSERT INTO tuning.version_info VALUES (1, 12, '5.0.0');
"""

GRANTS = """
-- Only who trains searches. Nothing in a study is ever deleted, and its tables are the owner's to change.
GRANT USAGE ON SCHEMA tuning TO training;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA tuning TO training;
REVOKE INSERT, UPDATE ON tuning.alembic_version, tuning.version_info FROM training;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA tuning TO training;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(GRANTS)


def downgrade() -> None:
    op.execute("DROP SCHEMA tuning CASCADE;")
