"""What the catalog remembers of each registered model version."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import model_versions, snapshots
from ml.errors import UnknownVersionError


@dataclass(frozen=True)
class ModelVersion:
    """A version's facts: what serving and scoring need, and where it came from."""

    version: int
    mlflow_run_id: str
    snapshot_id: int | None
    backbone_id: str
    classes: list[str]
    image_size: int
    precision: str


_FIELDS = [model_versions.c[name] for name in ModelVersion.__dataclass_fields__]


def save_model_version(connection: sa.Connection, model_version: ModelVersion) -> None:
    """Remember a version; one that is known stays as it is, since versions never change."""
    values = {name: getattr(model_version, name) for name in ModelVersion.__dataclass_fields__}
    connection.execute(insert(model_versions).values(**values).on_conflict_do_nothing())


def find_model_version(connection: sa.Connection, version: int) -> ModelVersion | None:
    """A version's facts, if it is known here."""
    row = connection.execute(sa.select(*_FIELDS).where(model_versions.c.version == version)).one_or_none()
    return None if row is None else ModelVersion(*row)


def load_model_version(connection: sa.Connection, version: int) -> ModelVersion:
    """A version's facts.

    Raises: UnknownVersionError, it was never registered here.
    """
    found = find_model_version(connection, version)
    if found is None:
        raise UnknownVersionError(f"Expected a registered model version, got {version}. See `mycoflow models`.")
    return found


def knows_images_until(connection: sa.Connection, version: int) -> datetime:
    """The moment up to which a version knows the pool: its snapshot's cutoff, or when it came, if made elsewhere.

    Raises: UnknownVersionError, it was never registered here.
    """
    until = sa.func.coalesce(snapshots.c.cutoff, model_versions.c.registered_at)
    query = sa.select(until).select_from(model_versions.outerjoin(snapshots)).where(model_versions.c.version == version)
    found: datetime | None = connection.execute(query).scalar_one_or_none()
    if found is None:
        raise UnknownVersionError(f"Expected a registered model version, got {version}. See `mycoflow models`.")
    return found


def snapshot_ids(connection: sa.Connection) -> dict[int, int | None]:
    """The snapshot that each known version learned from; None where it was made elsewhere."""
    query = sa.select(model_versions.c.version, model_versions.c.snapshot_id)
    return dict(connection.execute(query).tuples().all())


def backbone_ids(connection: sa.Connection, but_not_of: Collection[int]) -> list[str]:
    """The backbones of the known versions but those of these."""
    query = sa.select(model_versions.c.backbone_id).where(model_versions.c.version.not_in(but_not_of)).distinct()
    return list(connection.scalars(query))
