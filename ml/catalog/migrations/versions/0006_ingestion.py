"""What sources bring: batches, what became of each file, licences, perceptual hashes, and images that wait."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UP = """
-- A source's word is no person's word: `stated` is a label that waits for one.
ALTER TABLE training.images
    DROP CONSTRAINT images_label_origin_check,
    ADD CONSTRAINT images_label_origin_check
        CHECK (label_origin IN ('curated', 'confirmed', 'harvested', 'stated')),
    DROP CONSTRAINT images_held_back_check,
    ADD CONSTRAINT images_held_back_check CHECK (held_back IN ('suspended', 'excluded', 'waiting')),
    ADD CONSTRAINT images_stated_is_in_no_split CHECK (label_origin IS DISTINCT FROM 'stated' OR split IS NULL);

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
-- What a batch holds, what a source brought before, and where an image came from.
CREATE INDEX ingest_files_batch ON training.ingest_files (batch_id, id);
CREATE INDEX ingest_files_name ON training.ingest_files (name);
CREATE INDEX ingest_files_image ON training.ingest_files (image_sha256);

CREATE TABLE training.image_rights (
    image_sha256 text PRIMARY KEY REFERENCES training.images ON DELETE CASCADE,
    licence text NOT NULL,
    holder text NOT NULL
);

CREATE TABLE training.perceptual_hashes (
    image_sha256 text PRIMARY KEY REFERENCES training.images ON DELETE CASCADE,
    phash bigint NOT NULL
);

GRANT SELECT, INSERT, UPDATE, DELETE ON training.ingest_batches, training.ingest_files, training.image_rights,
    training.perceptual_hashes TO training;
GRANT SELECT ON training.ingest_batches, training.ingest_files, training.image_rights, training.perceptual_hashes
    TO web;
-- Dashboards: figures, never who, and holders are people.
GRANT SELECT ON training.ingest_batches, training.ingest_files, training.perceptual_hashes TO grafana_ro;
"""

# What waits has no place in the older schema but that of an image that was only predicted.
DOWN = """
DROP TABLE training.perceptual_hashes, training.image_rights, training.ingest_files, training.ingest_batches;
ALTER TABLE training.images
    DROP CONSTRAINT images_stated_is_in_no_split,
    DROP CONSTRAINT images_held_back_check,
    DROP CONSTRAINT images_label_origin_check;
UPDATE training.images SET label = NULL, label_origin = NULL WHERE label_origin = 'stated';
UPDATE training.images SET held_back = NULL WHERE held_back = 'waiting';
ALTER TABLE training.images
    ADD CONSTRAINT images_label_origin_check CHECK (label_origin IN ('curated', 'confirmed', 'harvested')),
    ADD CONSTRAINT images_held_back_check CHECK (held_back IN ('suspended', 'excluded'));
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
