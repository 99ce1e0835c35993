"""The feature cache: one vector per (image, trunk, view), computed once and shared by whoever trains or scores."""

from collections.abc import Mapping, Sequence

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import features

FEATURE_COUNT = 512


def load_features(
    connection: sa.Connection, sha256s: Sequence[str], trunk_id: str, view: str = "identity"
) -> dict[str, np.ndarray]:
    """The vectors that are there, in one query.

    Args: sha256s, the images wanted.
    Returns: hash -> float32 (512,); images not computed yet are missing.
    """
    query = sa.select(features.c.image_sha256, features.c.vector).where(
        features.c.image_sha256.in_(sha256s), features.c.trunk_id == trunk_id, features.c.view == view
    )
    rows = connection.execute(query)
    return {sha256: np.frombuffer(vector, dtype="<f4") for sha256, vector in rows}


def save_features(
    connection: sa.Connection, vectors: Mapping[str, np.ndarray], trunk_id: str, view: str = "identity"
) -> None:
    """Keep vectors; one that another worker wrote first stays, since it is the same.

    Args: vectors, hash -> float32 (512,).
    """
    rows = [
        {"image_sha256": sha256, "trunk_id": trunk_id, "view": view, "vector": vector.astype("<f4").tobytes()}
        for sha256, vector in sorted(vectors.items())  # one order for all, so that two writers never deadlock
    ]
    if rows:
        connection.execute(insert(features).on_conflict_do_nothing(), rows)
