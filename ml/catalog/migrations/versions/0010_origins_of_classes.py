"""The classes of items have the origin, too: "the harvested items of a class" is read off an index alone."""

from alembic import op

revision = "schema_0010"
down_revision = "schema_0009"
branch_labels = None
depends_on = None

COLUMN = """
ALTER TABLE training.item_classes ADD COLUMN label_origin text;
UPDATE training.item_classes SET label_origin = items.label_origin FROM training.items WHERE items.id = item_id;
ALTER TABLE training.item_classes ALTER COLUMN label_origin SET NOT NULL, DROP CONSTRAINT item_classes_pkey,
    ADD PRIMARY KEY (class_name, received_at, item_id) INCLUDE (label_origin);
DROP INDEX training.item_classes_newest;
CREATE INDEX item_classes_newest ON training.item_classes (class_name, entered_pool_at DESC, item_id)
    INCLUDE (label_origin) WHERE entered_pool_at IS NOT NULL;
"""

TRIGGERS = """
CREATE OR REPLACE FUNCTION training.add_item_classes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    INSERT INTO training.item_classes (class_name, received_at, item_id, entered_pool_at, label_origin)
    SELECT DISTINCT class_name, received_at, id, entered_pool_at, label_origin
    FROM added, unnest(class_names) AS class_name;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION training.change_item_classes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
    DELETE FROM training.item_classes USING before, after
    WHERE item_classes.item_id = before.id AND before.id = after.id
        AND (before.class_names, before.received_at, before.entered_pool_at, before.label_origin)
            IS DISTINCT FROM (after.class_names, after.received_at, after.entered_pool_at, after.label_origin);
    INSERT INTO training.item_classes (class_name, received_at, item_id, entered_pool_at, label_origin)
    SELECT DISTINCT class_name, after.received_at, after.id, after.entered_pool_at, after.label_origin
    FROM before JOIN after ON before.id = after.id, unnest(after.class_names) AS class_name
    WHERE (before.class_names, before.received_at, before.entered_pool_at, before.label_origin)
        IS DISTINCT FROM (after.class_names, after.received_at, after.entered_pool_at, after.label_origin);
    RETURN NULL;
END $$;
"""


def upgrade() -> None:
    for statements in (COLUMN, TRIGGERS):
        op.execute(statements)
