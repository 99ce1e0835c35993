"""Which trunk a recipe stands for. One that was made once is used by everybody: its bytes decide its features."""

import sqlalchemy as sa

from ml.catalog.tables import trunks

_TRUNK_LOCK = 0x7472756E  # "trun"


def hold_trunks(connection: sa.Connection) -> None:
    """Be the only one that makes a trunk until this transaction ends."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TRUNK_LOCK)))


def find_trunk(connection: sa.Connection, recipe: str) -> str | None:
    """The SHA-256 of the ONNX file that was made for a recipe, if it was."""
    return connection.execute(sa.select(trunks.c.onnx_sha256).where(trunks.c.recipe == recipe)).scalar_one_or_none()


def save_trunk(connection: sa.Connection, recipe: str, onnx_sha256: str) -> None:
    """Remember what was made for a recipe."""
    connection.execute(sa.insert(trunks).values(recipe=recipe, onnx_sha256=onnx_sha256))
