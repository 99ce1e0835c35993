"""The backbone that was built for each recipe. All processes reuse it, because its bytes decide the features."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from ml.catalog.tables import backbones, model_versions


@dataclass(frozen=True)
class StoredBackbone:
    """The backbone that was built for a recipe.

    Args:
        recipe: backbone, weights, input size, requested precision and preprocessing, as one text.
        backbone: its name in ml.backbones.registered.
        onnx_sha256: of the ONNX file that computes features and serves.
        fp32_sha256: of the ONNX file before quantisation; equal to onnx_sha256 if precision is fp32.
        weights_recipe: source of the weights, as in ml.backbones.base.BackboneWeights.
        precision: of the file onnx_sha256, int8 or fp32.
        image_size: side of the square input in pixels.
        parity: comparison of int8 and fp32 that decided the precision; None if int8 was not requested.
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
    """Return the backbone of a recipe; None if it was not built yet."""
    row = connection.execute(sa.select(*_FIELDS).where(backbones.c.recipe == recipe)).one_or_none()
    return None if row is None else StoredBackbone(*row)


def find_backbone_by_bytes(connection: sa.Connection, onnx_sha256: str) -> StoredBackbone | None:
    """Return the first backbone that was built with these bytes. Several recipes may lead to the same bytes."""
    query = sa.select(*_FIELDS).where(backbones.c.onnx_sha256 == onnx_sha256).order_by(backbones.c.made_at).limit(1)
    row = connection.execute(query).one_or_none()
    return None if row is None else StoredBackbone(*row)


def find_latest_backbone(
    connection: sa.Connection, backbone: str, image_size: int, outside: str
) -> StoredBackbone | None:
    """Return the latest backbone with a name and an image size whose weights' recipe has another beginning."""
    query = sa.select(*_FIELDS).where(
        backbones.c.backbone == backbone,
        backbones.c.image_size == image_size,
        ~backbones.c.weights_recipe.startswith(outside, autoescape=True),
    )
    row = connection.execute(query.order_by(backbones.c.made_at.desc()).limit(1)).one_or_none()
    return None if row is None else StoredBackbone(*row)


def find_backbone_of_version(connection: sa.Connection, version: int) -> StoredBackbone | None:
    """Return the backbone of a model version; None if the version or its backbone was not made here."""
    query = sa.select(model_versions.c.backbone_id).where(model_versions.c.version == version)
    backbone_id = connection.execute(query).scalar_one_or_none()
    return None if backbone_id is None else find_backbone_by_bytes(connection, backbone_id.partition(":")[0])


def save_backbone(connection: sa.Connection, backbone: StoredBackbone) -> StoredBackbone:
    """Store the backbone of a recipe, unless there is one already.

    Returns: the stored backbone of the recipe.
    """
    values = {name: getattr(backbone, name) for name in StoredBackbone.__dataclass_fields__}
    connection.execute(insert(backbones).values(**values).on_conflict_do_nothing(index_elements=[backbones.c.recipe]))
    return find_backbone_by_recipe(connection, backbone.recipe) or backbone
