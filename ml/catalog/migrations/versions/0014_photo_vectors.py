"""Keep the features of known photos in a form that pgvector can index, to find photos that are similar to one.

`ml.catalog.vector_extension` adds the extension itself, because a server may get pgvector after this migration.
"""

from alembic import op

revision = "schema_0014"
down_revision = "schema_0013"
branch_labels = None
depends_on = None

VECTORS = """
CREATE TABLE training.photo_vectors (
    image_sha256 text REFERENCES training.images ON DELETE CASCADE,
    backbone_id text,
    vector real[] NOT NULL,
    PRIMARY KEY (image_sha256, backbone_id)
);
"""

# Only the owner of a table may index it, and only the role `training` may ask for that: so this runs as the owner.
# Nobody but that role writes the table, so nobody else waits while an index is made.
# pgvector indexes `vector` up to 2000 dimensions and `halfvec` up to 4000. A parallel build would need as much shared
# memory as `maintenance_work_mem`, which containers seldom have.
INDEXES = """
CREATE FUNCTION training.index_photo_vectors(backbone text, dimensions integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' SET maintenance_work_mem = '256MB'
    SET max_parallel_maintenance_workers = 0 AS $$
DECLARE
    place text;
    kind text;
    former text;
BEGIN
    SELECT nspname INTO STRICT place FROM pg_catalog.pg_extension
    JOIN pg_catalog.pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector';
    FOR former IN
        SELECT indexname FROM pg_catalog.pg_indexes
        WHERE schemaname = 'training' AND tablename = 'photo_vectors' AND indexname LIKE 'photo\\_vectors\\_similar\\_%'
            AND indexname NOT IN (
                SELECT 'photo_vectors_similar_' || left(md5(known.backbone_id), 16)
                FROM (SELECT DISTINCT backbone_id FROM training.photo_vectors) AS known
            )
    LOOP
        EXECUTE format('DROP INDEX training.%I', former);
    END LOOP;
    IF dimensions > 4000 THEN
        RETURN;
    END IF;
    kind := CASE WHEN dimensions > 2000 THEN 'halfvec' ELSE 'vector' END;
    EXECUTE format(
        'CREATE INDEX IF NOT EXISTS %I ON training.photo_vectors USING hnsw ((vector::%I.%I(%s)) %I.%I) '
        'WHERE backbone_id = %L',
        'photo_vectors_similar_' || left(md5(backbone), 16), place, kind, dimensions, place, kind || '_cosine_ops',
        backbone
    );
END $$;
REVOKE ALL ON FUNCTION training.index_photo_vectors FROM PUBLIC;
"""

GRANTS = """
GRANT SELECT ON training.photo_vectors TO web;
GRANT SELECT, INSERT, UPDATE, DELETE ON training.photo_vectors TO training;
GRANT EXECUTE ON FUNCTION training.index_photo_vectors TO training;
"""


def upgrade() -> None:
    for statements in (VECTORS, INDEXES, GRANTS):
        op.execute(statements)
