"""List the objects that the catalog names."""

import sqlalchemy as sa

from ml.catalog.items.item_records import is_not_erased
from ml.catalog.object_store import backbone_key, image_key
from ml.catalog.tables import backbones, images, ingest_batches, items


def object_keys(connection: sa.Connection) -> list[str]:
    """Return the keys of all objects that a row names: images, files of backbones, and contact sheets of batches.

    Erased images are left out: their bytes may be gone before their rows.
    """
    files = sa.union(sa.select(backbones.c.onnx_sha256), sa.select(backbones.c.fp32_sha256))
    is_erased = sa.exists().where(items.c.image_sha256 == images.c.sha256, ~is_not_erased())
    keys = [image_key(sha256) for sha256 in connection.scalars(sa.select(images.c.sha256).where(~is_erased))]
    keys += [backbone_key(sha256) for sha256 in connection.scalars(files)]
    sheets = sa.select(ingest_batches.c.contact_sheet_key).where(ingest_batches.c.contact_sheet_key.is_not(None))
    return keys + list(connection.scalars(sheets.distinct()))
