"""List the objects that the catalog names."""

import sqlalchemy as sa

from ml.catalog.object_store import backbone_key, image_key
from ml.catalog.tables import backbones, images, ingest_batches


def object_keys(connection: sa.Connection) -> list[str]:
    """Return the keys of all objects that a row names: images, files of backbones, and contact sheets of batches."""
    files = sa.union(sa.select(backbones.c.onnx_sha256), sa.select(backbones.c.fp32_sha256))
    keys = [image_key(sha256) for sha256 in connection.scalars(sa.select(images.c.sha256))]
    keys += [backbone_key(sha256) for sha256 in connection.scalars(files)]
    sheets = sa.select(ingest_batches.c.contact_sheet_key).where(ingest_batches.c.contact_sheet_key.is_not(None))
    return keys + list(connection.scalars(sheets.distinct()))
