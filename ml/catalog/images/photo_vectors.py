"""The photos that are shown as similar to another one, and their features in a form that pgvector can index."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.annotations import Annotation, read_annotation
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.tables import image_rights, images, ingest_files, items, photo_vectors
from ml.catalog.vector_extension import find_extension

OF_ACCOUNTS = ("upload", "url")  # sources of items that accounts sent
_INDEXED_AS_VECTOR = 2000  # dimensions; above, pgvector indexes half precision
# Several photos of one group count once, so more are read than are shown.
_ROWS_PER_PHOTO = 4
_MOST_ROWS = 400


class _VectorType(sa.types.UserDefinedType[str]):
    """A type of pgvector. Args: name, with its schema and its dimensions."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: object) -> str:
        return self.name


@dataclass(frozen=True)
class SimilarPhoto:
    """A known photo that is similar to another photo.

    Args:
        similarity: the cosine of the angle between the features of both, 1 for equal ones.
        licence, holder: None for a photo that came with the data without rights.
    """

    image_sha256: str
    annotation: Annotation
    licence: str | None
    holder: str | None
    similarity: float


def is_known_photo() -> sa.ColumnElement[bool]:
    """Return the SQL condition on training.items for photos that every account may see beside an answer.

    They are in the pool with a person's label, and came with the data, or from a source that names their licence. No
    account sent them.
    """
    sent = images.alias()
    was_sent = sa.exists().where(sent.c.sha256 == items.c.image_sha256, sent.c.account_id.is_not(None))
    rights = image_rights.alias()
    has_licence = sa.exists().where(rights.c.image_sha256 == items.c.image_sha256)
    is_of_source = sa.exists().where(ingest_files.c.item_id == items.c.id)
    return sa.and_(
        items.c.entered_pool_at.is_not(None),
        items.c.split == "pool",
        items.c.held_back.is_(None),
        items.c.label_origin.in_(HUMAN_ORIGINS),
        items.c.source.not_in(OF_ACCOUNTS),
        items.c.image_sha256.is_not(None),
        ~was_sent,
        has_licence | ~is_of_source,
    )


def find_unstored(connection: sa.Connection, backbone_id: str, count: int) -> list[str]:
    """Return the hashes of known photos, newest first, that have no vector of a backbone yet."""
    is_stored = sa.exists().where(
        photo_vectors.c.image_sha256 == items.c.image_sha256, photo_vectors.c.backbone_id == backbone_id
    )
    query = sa.select(items.c.image_sha256).where(is_known_photo(), ~is_stored)
    return list(dict.fromkeys(connection.scalars(query.order_by(items.c.entered_pool_at.desc()).limit(count))))


def save_vectors(connection: sa.Connection, backbone_id: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Store the vectors of photos.

    Args: vectors, the hash of a stored image -> its vector, float32 (feature count,).
    """
    rows = [
        {"image_sha256": sha256, "backbone_id": backbone_id, "vector": vector.tolist()}
        for sha256, vector in sorted(vectors.items())
    ]
    if rows:
        connection.execute(insert(photo_vectors).on_conflict_do_nothing(), rows)


def index_vectors(connection: sa.Connection, backbone_id: str) -> None:
    """Make the index of a backbone's vectors, unless it exists, and drop those of backbones without vectors.

    Only the role `training` and the owner of the database may do this.
    """
    size = sa.select(sa.func.array_length(photo_vectors.c.vector, 1)).where(photo_vectors.c.backbone_id == backbone_id)
    dimensions = connection.execute(size.limit(1)).scalar_one_or_none()
    if dimensions is not None:
        connection.execute(sa.select(sa.func.training.index_photo_vectors(backbone_id, dimensions)))


def count_vectors(connection: sa.Connection, backbone_id: str) -> int:
    """Count the photos that can be found with a backbone's features."""
    query = sa.select(sa.func.count()).select_from(photo_vectors).where(photo_vectors.c.backbone_id == backbone_id)
    found: int = connection.execute(query).scalar_one()
    return found


def find_similar_photos(
    connection: sa.Connection,
    backbone_id: str,
    vector: NDArray[np.float32],
    count: int,
    outside_group: str,
) -> list[SimilarPhoto]:
    """Return the known photos whose features are the most similar, at most one of each group, the best first.

    Args:
        backbone_id: the backbone that computed the vector.
        vector: float32 (feature count,).
        outside_group: leave out this group, that of the photo itself.
    Returns: none if the database has no pgvector.
    """
    schema = find_extension(connection)
    if schema is None or not vector.any():  # no angle to a vector of zeros
        return []
    # The index finds the nearest first, and goes on until enough of them pass the conditions.
    connection.execute(sa.select(sa.func.set_config("hnsw.iterative_scan", "strict_order", True)))
    limit = count * _ROWS_PER_PHOTO
    while True:
        rows = connection.execute(_query(schema, backbone_id, vector, outside_group).limit(limit)).all()
        nearest = {row.group_key: row for row in reversed(rows)}
        if len(nearest) >= count or len(rows) < limit or limit >= _MOST_ROWS:
            best = sorted(nearest.values(), key=lambda row: float(row.distance))[:count]
            return [_read(row) for row in best]
        limit *= _ROWS_PER_PHOTO


def _query(
    schema: str, backbone_id: str, vector: NDArray[np.float32], outside_group: str
) -> sa.Select[tuple[object, ...]]:
    kind = "vector" if len(vector) <= _INDEXED_AS_VECTOR else "halfvec"
    as_vector = _VectorType(f"{schema}.{kind}({len(vector)})")
    # The same expression as in the index, which would not be used otherwise.
    indexed = sa.cast(photo_vectors.c.vector, as_vector)
    looked_for = sa.cast(sa.literal(str(vector.tolist()), sa.Text), as_vector)
    distance = indexed.op(f"OPERATOR({schema}.<=>)", return_type=sa.Float())(looked_for)
    return (
        sa.select(
            items.c.image_sha256,
            items.c.group_key,
            items.c.class_names,
            items.c.annotation,
            image_rights.c.licence,
            image_rights.c.holder,
            distance.label("distance"),
        )
        .select_from(photo_vectors)
        .join(items, items.c.image_sha256 == photo_vectors.c.image_sha256)
        .outerjoin(image_rights, image_rights.c.image_sha256 == items.c.image_sha256)
        .where(photo_vectors.c.backbone_id == backbone_id, is_known_photo(), items.c.group_key != outside_group)
        .order_by(distance)
    )


def _read(row: sa.Row[tuple[object, ...]]) -> SimilarPhoto:
    annotation = read_annotation(row.class_names, row.annotation)
    return SimilarPhoto(row.image_sha256, annotation, row.licence, row.holder, 1 - float(row.distance))
