"""Harvest: images that the model is sure about go into the pool under the model's own label."""

import sqlalchemy as sa

from ml.catalog.images.image_records import find_groups_in, is_only_predicted
from ml.catalog.locks import hold_membership
from ml.catalog.logs.events import write_event
from ml.catalog.tables import feedback, images, predictions, results
from ml.data.confirm import add_label


def is_harvestable(connection: sa.Connection, sha256: str) -> bool:
    """Whether an image is only predicted so far: in no split, taken out by nobody, and no prediction of it disputed.

    Good for a first look without the membership lock.
    """
    return _find_group(connection, sha256) is not None


def harvest(connection: sa.Connection, sha256: str, label: str, model_version: int) -> bool:
    """Put an image into the pool under the label that a model version gave it, if it is still harvestable.

    Returns: whether it is in the pool now through this call.
    """
    hold_membership(connection, "pool")
    group_key = _find_group(connection, sha256)
    if group_key is None or find_groups_in(connection, "evaluation", [group_key]):
        return False
    actor = f"version:{model_version}"
    connection.execute(
        sa.update(images)
        .where(images.c.sha256 == sha256)
        .values(
            split="pool",
            label=label,
            label_origin="harvested",
            entered_pool_at=sa.func.clock_timestamp(),
        )
    )
    add_label(connection, sha256, label, "harvested", actor)
    write_event(connection, "image.harvested", actor, {"image_sha256": sha256, "label": label})
    return True


# Built once: nearly every new prediction asks it. A prediction of the image that somebody disputed keeps it out.
_FIND_GROUP = sa.select(images.c.group_key).where(
    images.c.sha256 == sa.bindparam("sha256"),
    is_only_predicted(),
    ~sa.exists().where(
        feedback.c.verdict == "nok",
        feedback.c.prediction_id == predictions.c.id,
        predictions.c.result_id == results.c.id,
        results.c.image_sha256 == sa.bindparam("sha256"),
    ),
)


def _find_group(connection: sa.Connection, sha256: str) -> str | None:
    """The group of an image, if it is harvestable."""
    return connection.execute(_FIND_GROUP, {"sha256": sha256}).scalar_one_or_none()
