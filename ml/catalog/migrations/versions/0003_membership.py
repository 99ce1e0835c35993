"""Add the search for copies of photos (thumbnails, hashes, originals), and the account of each harvested image.

The former perceptual hashes are dropped; the new ones are computed from the images.
"""

from alembic import op

revision = "schema_0003"
down_revision = "schema_0002"
branch_labels = None
depends_on = None

COPIES = """
ALTER TABLE training.images ADD COLUMN copy_of text REFERENCES training.images ON DELETE SET NULL;
CREATE INDEX images_copy_of ON training.images (copy_of) WHERE copy_of IS NOT NULL;

-- `copy` means that a copy of the image is in the evaluation set.
ALTER TABLE training.images DROP CONSTRAINT images_held_back_check,
    ADD CONSTRAINT images_held_back_check CHECK (held_back IN ('suspended', 'excluded', 'waiting', 'copy'));

DROP TABLE training.perceptual_hashes;
CREATE TABLE training.image_statistics (
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    image_sha256 text PRIMARY KEY REFERENCES training.images ON DELETE CASCADE,
    thumbnail bytea NOT NULL CHECK (octet_length(thumbnail) = 1024),
    brightness real NOT NULL,
    contrast real NOT NULL,
    sharpness real NOT NULL,
    aspect real NOT NULL
);
-- The search for a hash uses its two words of the lowest frequencies, each with at most one different bit.
CREATE TABLE training.copy_hashes (
    statistics_id bigint NOT NULL REFERENCES training.image_statistics (id) ON DELETE CASCADE,
    bits bigint NOT NULL,
    kind smallint NOT NULL,
    low_word integer NOT NULL,
    high_word integer NOT NULL
);
CREATE INDEX copy_hashes_low ON training.copy_hashes (low_word, kind) INCLUDE (bits, statistics_id);
CREATE INDEX copy_hashes_high ON training.copy_hashes (high_word, kind) INCLUDE (bits, statistics_id);
CREATE INDEX copy_hashes_image ON training.copy_hashes (statistics_id);
"""

HARVESTS = """
CREATE TABLE training.harvests (
    image_sha256 text PRIMARY KEY REFERENCES training.images ON DELETE CASCADE,
    account_id bigint REFERENCES users.accounts ON DELETE SET NULL,
    model_version integer NOT NULL,
    harvested_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX harvests_account ON training.harvests (account_id, harvested_at);
"""

# Marks the evaluations of versions that were trained on copies of evaluation images.
MARKS = "ALTER TABLE training.evaluations ADD COLUMN learned_copies integer NOT NULL DEFAULT 0;"

# Dashboards may read neither: thumbnails show people's photos, and harvests name accounts.
GRANTS = """
GRANT SELECT, INSERT ON training.image_statistics, training.copy_hashes, training.harvests TO web;
GRANT SELECT, INSERT, UPDATE, DELETE ON training.image_statistics, training.copy_hashes, training.harvests TO training;
"""


def upgrade() -> None:
    for statements in (COPIES, HARVESTS, MARKS, GRANTS):
        op.execute(statements)
