"""The feature cache: one vector per (part, backbone, view), computed once, and used by training and by scoring."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.database import Catalog
from ml.catalog.locks import claim_locks, release_claims
from ml.catalog.tables import features

IDENTITY = "identity"  # the view of the unchanged image

# Built once, because every new prediction runs it.
_LOAD = sa.select(features.c.part_sha256, features.c.view, features.c.vector).where(
    features.c.part_sha256.in_(sa.bindparam("sha256s", expanding=True)),
    features.c.backbone_id == sa.bindparam("backbone_id"),
    features.c.view.in_(sa.bindparam("views", expanding=True)),
)

Vectors = dict[tuple[str, str], np.ndarray]  # (image hash, view) -> float32 (feature count,)


def load_features(connection: sa.Connection, sha256s: Sequence[str], backbone_id: str, views: Sequence[str]) -> Vectors:
    """Load the stored vectors of some images in one query.

    Args: sha256s, of the images.
    Returns: the vectors, without images and views that are not computed yet.
    """
    rows = connection.execute(_LOAD, {"sha256s": sha256s, "backbone_id": backbone_id, "views": views})
    return {(sha256, view): np.frombuffer(vector, dtype="<f4") for sha256, view, vector in rows}


@contextmanager
def claim_images(catalog: Catalog, sha256s: Sequence[str], backbone_id: str) -> Iterator[list[str]]:
    """Lock those of some images that no other worker computes features of, and yield their hashes.

    The locks are held during the block, without an open transaction.
    """
    texts = {f"{sha256}{backbone_id}": sha256 for sha256 in sha256s}
    with catalog.autocommit() as session:
        claimed = claim_locks(session, list(texts))
        try:
            yield [sha256 for text, sha256 in texts.items() if text in claimed]
        finally:
            release_claims(session, list(claimed))


def save_features(connection: sa.Connection, vectors: Mapping[tuple[str, str], np.ndarray], backbone_id: str) -> None:
    """Store vectors. A vector that is stored already is equal, and stays.

    Args: vectors, (hash, view) -> float32 (feature count,).
    """
    rows = [
        {"part_sha256": sha256, "backbone_id": backbone_id, "view": view, "vector": vector.astype("<f4").tobytes()}
        for (sha256, view), vector in sorted(vectors.items())  # all writers use one order, so they never deadlock
    ]
    if rows:
        connection.execute(insert(features).on_conflict_do_nothing(), rows)
