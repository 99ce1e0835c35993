"""Which backbone a recipe stands for. One that was made once is used by everybody: its bytes decide its features."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import backbones, model_versions


@dataclass(frozen=True)
class StoredBackbone:
    """What was made for a recipe.

    Args:
        recipe: backbone, weights, input size, precision asked for, preprocessing.
        backbone: its name in ml.backbones.registered.
        onnx_sha256: of the ONNX file that computes features and serves.
        fp32_sha256: of the ONNX file before quantisation; the same where precision is fp32.
        weights_recipe: where the weights came from, as ml.backbones.base.BackboneWeights names it.
        precision: what came of it, int8 or fp32.
        image_size: side of the square input, pixels.
        parity: the comparison that decided about int8; None where nobody asked for int8.
    """

    recipe: str
    backbone: str
    onnx_sha256: str
    fp32_sha256: str
    weights_recipe: str
    precision: str
    image_size: int
    parity: Mapping[str, object] | None


_FIELDS = [backbones.c[name] for name in StoredBackbone.__dataclass_fields__]


def find_backbone_by_recipe(connection: sa.Connection, recipe: str) -> StoredBackbone | None:
    """What was made for a recipe, if it was."""
    row = connection.execute(sa.select(*_FIELDS).where(backbones.c.recipe == recipe)).one_or_none()
    return None if row is None else StoredBackbone(*row)


def find_backbone_by_bytes(connection: sa.Connection, onnx_sha256: str) -> StoredBackbone | None:
    """The first backbone that was made with these bytes; recipes that asked for different precisions may share them."""
    query = sa.select(*_FIELDS).where(backbones.c.onnx_sha256 == onnx_sha256).order_by(backbones.c.made_at).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else StoredBackbone(*row)


def find_backbone_of_version(connection: sa.Connection, version: int) -> StoredBackbone | None:
    """The backbone of a model version; None where the version or its backbone was not made here."""
    query = sa.select(model_versions.c.backbone_id).where(model_versions.c.version == version)
    backbone_id = connection.execute(query).scalar_one_or_none()
    return None if backbone_id is None else find_backbone_by_bytes(connection, backbone_id.partition(":")[0])


def save_backbone(connection: sa.Connection, backbone: StoredBackbone) -> StoredBackbone:
    """Remember what was made for a recipe. What was there before stays.

    Returns: what stands for the recipe now.
    """
    values = {name: getattr(backbone, name) for name in StoredBackbone.__dataclass_fields__}
    connection.execute(insert(backbones).values(**values).on_conflict_do_nothing(index_elements=[backbones.c.recipe]))
    return find_backbone_by_recipe(connection, backbone.recipe) or backbone
