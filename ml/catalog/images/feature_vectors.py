"""The feature cache: one vector per (part, backbone, view), computed once and shared by whoever trains or scores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.database import Catalog
from ml.catalog.locks import claim_locks, release_claims
from ml.catalog.tables import features

IDENTITY = "identity"  # the view that is the image as it is

# Built once: every new prediction asks it, too.
_LOAD = sa.select(features.c.part_sha256, features.c.view, features.c.vector).where(
    features.c.part_sha256.in_(sa.bindparam("sha256s", expanding=True)),
    features.c.backbone_id == sa.bindparam("backbone_id"),
    features.c.view.in_(sa.bindparam("views", expanding=True)),
)

Vectors = dict[tuple[str, str], np.ndarray]  # (image hash, view) -> float32 (feature count,)


def load_features(connection: sa.Connection, sha256s: Sequence[str], backbone_id: str, views: Sequence[str]) -> Vectors:
    """The vectors that are there, in one query.

    Args: sha256s, the images wanted.
    Returns: those of images and views not computed yet are missing.
    """
    rows = connection.execute(_LOAD, {"sha256s": sha256s, "backbone_id": backbone_id, "views": views})
    return {(sha256, view): np.frombuffer(vector, dtype="<f4") for sha256, view, vector in rows}


@contextmanager
def claim_images(catalog: Catalog, sha256s: Sequence[str], backbone_id: str) -> Iterator[list[str]]:
    """Of these images, those that no other worker computes features of now. They are ours for the length of the block.

    No transaction is open meanwhile.
    """
    texts = {f"{sha256}{backbone_id}": sha256 for sha256 in sha256s}
    with catalog.autocommit() as session:
        claimed = claim_locks(session, list(texts))
        try:
            yield [sha256 for text, sha256 in texts.items() if text in claimed]
        finally:
            release_claims(session, list(claimed))


def save_features(connection: sa.Connection, vectors: Mapping[tuple[str, str], np.ndarray], backbone_id: str) -> None:
    """Keep vectors; one that is there already stays, since it is the same.

    Args: vectors, (hash, view) -> float32 (feature count,).
    """
    rows = [
        {"part_sha256": sha256, "backbone_id": backbone_id, "view": view, "vector": vector.astype("<f4").tobytes()}
        for (sha256, view), vector in sorted(vectors.items())  # one order for all, so that two writers never deadlock
    ]
    if rows:
        connection.execute(insert(features).on_conflict_do_nothing(), rows)
