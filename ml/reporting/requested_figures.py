"""Figures that are computed when an admin requests them."""

import sqlalchemy as sa

from ml.backbones import served_backbone
from ml.catalog.database import Catalog
from ml.catalog.models.model_versions import knows_images_until, load_model_version
from ml.catalog.tables import predictions, results
from ml.data.snapshot_rules import count_new_images, nightly_rules
from ml.errors import NoPredictionsError
from ml.settings import Settings


def mean_confidence(catalog: Catalog, count: int) -> float:
    """Return the models' mean confidence in the last predictions, 0 to 1.

    Args: count, number of predictions; all predictions if there are fewer.
    Raises: NoPredictionsError, there are no predictions; DatabaseUnavailableError.
    """
    last = sa.select(predictions.c.result_id).order_by(predictions.c.id.desc()).limit(count).subquery()
    answered = last.join(results, results.c.id == last.c.result_id)
    mean = sa.select(sa.func.avg(results.c.confidence)).select_from(answered)
    with catalog.begin() as connection:
        found: float | None = connection.execute(mean).scalar_one()
    if found is None:
        raise NoPredictionsError("Expected one prediction or more, found none. Make one first.")
    return found


def count_images_since(catalog: Catalog, settings: Settings, version: int) -> int:
    """Count the images of the pool that are newer than a version's snapshot and that a training could use.

    Raises: UnknownVersionError, the version was never registered here; DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        since, classes = knows_images_until(connection, version), load_model_version(connection, version).classes
        return count_new_images(connection, since, nightly_rules(settings), classes).total


def count_tunable_layers(catalog: Catalog, version: int) -> int | None:
    """Count the layers of a version's backbone that fine-tuning can train; None if its backbone was not made here.

    Raises: DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        return served_backbone.count_tunable_layers(connection, version)
