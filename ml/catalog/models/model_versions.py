"""The catalog's record of each registered model version."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import model_versions, snapshots
from ml.errors import UnknownVersionError


@dataclass(frozen=True)
class ModelVersion:
    """A registered version: the facts that serving and scoring need, and its origin.

    Args: snapshot_id, the data it was trained on; None for a model that was trained elsewhere.
    """

    version: int
    mlflow_run_id: str
    snapshot_id: int | None
    backbone_id: str
    classes: list[str]
    image_size: int
    precision: str


_FIELDS = [model_versions.c[name] for name in ModelVersion.__dataclass_fields__]


def save_model_version(connection: sa.Connection, model_version: ModelVersion) -> None:
    """Store a version, unless it is stored already: versions never change."""
    values = {name: getattr(model_version, name) for name in ModelVersion.__dataclass_fields__}
    connection.execute(insert(model_versions).values(**values).on_conflict_do_nothing())


def find_model_version(connection: sa.Connection, version: int) -> ModelVersion | None:
    """Return a version's record, or None."""
    row = connection.execute(sa.select(*_FIELDS).where(model_versions.c.version == version)).one_or_none()
    return None if row is None else ModelVersion(*row)


def load_model_version(connection: sa.Connection, version: int) -> ModelVersion:
    """Return a version's record.

    Raises: UnknownVersionError, the version was never registered here.
    """
    found = find_model_version(connection, version)
    if found is None:
        raise UnknownVersionError(f"Expected a registered model version, got {version}. See `mycoflow models`.")
    return found


def knows_images_until(connection: sa.Connection, version: int) -> datetime:
    """Return the moment up to which a version's training could use the pool.

    That is its snapshot's cutoff, or its registration if it was trained elsewhere.

    Raises: UnknownVersionError, the version was never registered here.
    """
    until = sa.func.coalesce(snapshots.c.cutoff, model_versions.c.registered_at)
    query = sa.select(until).select_from(model_versions.outerjoin(snapshots)).where(model_versions.c.version == version)
    found: datetime | None = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise UnknownVersionError(f"Expected a registered model version, got {version}. See `mycoflow models`.")
    return found


def snapshot_ids(connection: sa.Connection) -> dict[int, int | None]:
    """Return the snapshot that each version was trained on; None for a version that was trained elsewhere."""
    query = sa.select(model_versions.c.version, model_versions.c.snapshot_id)
    return dict(connection.execute(query).tuples().all())


def run_ids(connection: sa.Connection) -> dict[int, str]:
    """Return the MLflow run of each version."""
    query = sa.select(model_versions.c.version, model_versions.c.mlflow_run_id)
    return dict(connection.execute(query).tuples().all())


def backbone_ids(connection: sa.Connection, excluded_versions: Collection[int]) -> list[str]:
    """Return the backbone ids of all registered versions except the excluded ones."""
    query = sa.select(model_versions.c.backbone_id).where(model_versions.c.version.not_in(excluded_versions)).distinct()
    return list(connection.scalars(query))
