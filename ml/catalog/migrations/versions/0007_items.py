"""Make the item the unit. Its parts, an image or a text or both, get tables of their own. Labels become annotations.

Each former image becomes an item with only this image, and the image's hash is the item's id. Its annotation has one
class name, the former label.
"""

from alembic import op

revision = "schema_0007"
down_revision = "schema_0006"
branch_labels = None
depends_on = None

# PostgreSQL changes the references of other tables to the new names.
ITEMS = """
ALTER TABLE training.images RENAME TO items;
ALTER TABLE training.items RENAME COLUMN sha256 TO id;
ALTER TABLE training.snapshot_images RENAME TO snapshot_items;
ALTER TABLE training.snapshot_items RENAME COLUMN image_sha256 TO item_id;
ALTER TABLE training.evaluation_set_images RENAME TO evaluation_set_items;
ALTER TABLE training.evaluation_set_items RENAME COLUMN image_sha256 TO item_id;
ALTER TABLE training.labels RENAME TO annotations;
ALTER TABLE training.annotations RENAME COLUMN image_sha256 TO item_id;
ALTER TABLE training.harvests RENAME COLUMN image_sha256 TO item_id;
ALTER TABLE training.ingest_files RENAME COLUMN image_sha256 TO item_id;
ALTER TABLE logs.results RENAME COLUMN image_sha256 TO item_id;
ALTER TABLE training.features RENAME COLUMN image_sha256 TO part_sha256;
ALTER TABLE training.features DROP CONSTRAINT features_image_sha256_fkey;
"""

# The first statement drops the indexes by label, because new ones are created below. The second one renames constraints
# and indexes.
NAMES = """
DROP INDEX training.images_newest, training.images_newest_of_label, training.images_received_of_label;

DO $$
DECLARE
    renamed record;
    tables regclass[] := ARRAY['training.items', 'training.snapshot_items', 'training.evaluation_set_items',
        'training.annotations', 'training.harvests', 'training.ingest_files', 'training.features', 'logs.results'];
    pairs text[][] := ARRAY[['snapshot_images', 'snapshot_items'], ['evaluation_set_images', 'evaluation_set_items'],
        ['labels_image', 'annotations_item'], ['labels', 'annotations'], ['ingest_files_image', 'ingest_files_item'],
        ['images_sha256', 'items_id'], ['images', 'items'], ['features_image_sha256', 'features_part_sha256'],
        ['image_sha256', 'item_id']];
    old_name text;
    new_name text;
BEGIN
    FOR renamed IN
        SELECT conrelid::regclass AS relation, conname AS name, true AS is_constraint
        FROM pg_constraint WHERE conrelid = ANY (tables)
        UNION ALL
        SELECT indexrelid::regclass, relname, false FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indrelid = ANY (tables) AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    LOOP
        new_name := renamed.name;
        FOR pair IN 1 .. array_length(pairs, 1) LOOP
            new_name := replace(new_name, pairs[pair][1], pairs[pair][2]);
        END LOOP;
        CONTINUE WHEN new_name = renamed.name;
        IF renamed.is_constraint THEN
            EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', renamed.relation, renamed.name, new_name);
        ELSE
            EXECUTE format('ALTER INDEX %s RENAME TO %I', renamed.relation, new_name);
        END IF;
    END LOOP;
END $$;
"""

PARTS = """
CREATE TABLE training.images (
    sha256 text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    media_type text NOT NULL,
    width integer NOT NULL,
    height integer NOT NULL,
    byte_count integer NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO training.images SELECT id, media_type, width, height, byte_count, received_at FROM training.items;

CREATE TABLE training.texts (
    sha256 text PRIMARY KEY CHECK (sha256 = encode(sha256(convert_to(content, 'UTF8')), 'hex')),
    content text NOT NULL CHECK (char_length(content) BETWEEN 1 AND 10000)
);

ALTER TABLE training.image_rights DROP CONSTRAINT image_rights_image_sha256_fkey,
    ADD FOREIGN KEY (image_sha256) REFERENCES training.images ON DELETE CASCADE;
ALTER TABLE training.image_statistics DROP CONSTRAINT image_statistics_image_sha256_fkey,
    ADD FOREIGN KEY (image_sha256) REFERENCES training.images ON DELETE CASCADE;

ALTER TABLE training.items
    DROP COLUMN media_type, DROP COLUMN width, DROP COLUMN height, DROP COLUMN byte_count,
    ADD COLUMN image_sha256 text REFERENCES training.images,
    ADD COLUMN text_sha256 text REFERENCES training.texts,
    ADD COLUMN supersedes text REFERENCES training.items ON DELETE SET NULL;
UPDATE training.items SET image_sha256 = id;
-- The same rule as in ml.catalog.items.item_records.item_id.
ALTER TABLE training.items ADD CONSTRAINT items_id_is_hash_of_parts CHECK (id IS NOT DISTINCT FROM CASE
    WHEN text_sha256 IS NULL THEN image_sha256
    WHEN image_sha256 IS NULL THEN text_sha256
    ELSE encode(sha256(image_sha256::bytea || '\\x00'::bytea || text_sha256::bytea), 'hex')
END);
CREATE INDEX items_image ON training.items (image_sha256) WHERE image_sha256 IS NOT NULL;
CREATE INDEX items_text ON training.items (text_sha256) WHERE text_sha256 IS NOT NULL;
CREATE INDEX items_supersedes ON training.items (supersedes) WHERE supersedes IS NOT NULL;

-- `superseded` means that a version with another description replaced the item.
ALTER TABLE training.items DROP CONSTRAINT items_held_back_check, ADD CONSTRAINT items_held_back_check
    CHECK (held_back IN ('suspended', 'excluded', 'waiting', 'copy', 'superseded'));
"""

ANNOTATIONS = """
ALTER TABLE training.items
    ALTER COLUMN label TYPE text[] USING CASE WHEN label IS NOT NULL THEN ARRAY[label] END,
    ADD COLUMN annotation jsonb;
ALTER TABLE training.items RENAME COLUMN label TO class_names;
ALTER TABLE training.items ADD CONSTRAINT items_annotation_has_class_names
    CHECK (annotation IS NULL OR class_names IS NOT NULL);

ALTER TABLE training.annotations ALTER COLUMN label TYPE text[] USING ARRAY[label], ADD COLUMN annotation jsonb;
ALTER TABLE training.annotations RENAME COLUMN label TO class_names;
ALTER TABLE training.snapshot_items ALTER COLUMN label TYPE text[] USING ARRAY[label], ADD COLUMN annotation jsonb;
ALTER TABLE training.snapshot_items RENAME COLUMN label TO class_names;
ALTER TABLE training.evaluation_set_items
    ALTER COLUMN label TYPE text[] USING ARRAY[label], ADD COLUMN annotation jsonb;
ALTER TABLE training.evaluation_set_items RENAME COLUMN label TO class_names;

-- For the newest N, and the number since a moment. It has no class names, because many boxes make them too long.
CREATE INDEX items_newest ON training.items (entered_pool_at DESC, id)
    INCLUDE (label_origin) WHERE entered_pool_at IS NOT NULL;

-- One row per item and class that it shows, with the columns that pages and snapshots order by, so that an index finds
-- the newest N of a class. Only triggers write this table.
CREATE TABLE training.item_classes (
    class_name text,
    received_at timestamptz,
    item_id text REFERENCES training.items ON DELETE CASCADE,
    entered_pool_at timestamptz,
    PRIMARY KEY (class_name, received_at, item_id)
);
INSERT INTO training.item_classes SELECT class_names[1], received_at, id, entered_pool_at
FROM training.items WHERE class_names IS NOT NULL;
CREATE INDEX item_classes_newest ON training.item_classes (class_name, entered_pool_at DESC, item_id)
    WHERE entered_pool_at IS NOT NULL;
CREATE INDEX item_classes_item ON training.item_classes (item_id);

CREATE FUNCTION training.add_item_classes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO training.item_classes
    SELECT DISTINCT class_name, received_at, id, entered_pool_at FROM added, unnest(class_names) AS class_name;
    RETURN NULL;
END $$;
CREATE TRIGGER items_added AFTER INSERT ON training.items REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION training.add_item_classes();

CREATE FUNCTION training.change_item_classes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    DELETE FROM training.item_classes USING before, after
    WHERE item_classes.item_id = before.id AND before.id = after.id
        AND (before.class_names, before.received_at, before.entered_pool_at)
            IS DISTINCT FROM (after.class_names, after.received_at, after.entered_pool_at);
    INSERT INTO training.item_classes
    SELECT DISTINCT class_name, after.received_at, after.id, after.entered_pool_at
    FROM before JOIN after ON before.id = after.id, unnest(after.class_names) AS class_name
    WHERE (before.class_names, before.received_at, before.entered_pool_at)
        IS DISTINCT FROM (after.class_names, after.received_at, after.entered_pool_at);
    RETURN NULL;
END $$;
CREATE TRIGGER items_changed AFTER UPDATE ON training.items REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION training.change_item_classes();
"""

# Dashboards may not read texts, because a text may name people.
GRANTS = """
GRANT SELECT, INSERT ON training.images, training.texts TO web;
GRANT SELECT, INSERT, UPDATE, DELETE ON training.images, training.texts TO training;
GRANT SELECT ON training.images, training.item_classes TO grafana_ro;
GRANT SELECT ON training.item_classes TO web, training;
"""


def upgrade() -> None:
    for statements in (ITEMS, NAMES, PARTS, ANNOTATIONS, GRANTS):
        op.execute(statements)
