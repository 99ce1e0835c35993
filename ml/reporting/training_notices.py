"""Which events of a night and of a training people are told of: from what the catalog knows into the outbox."""

import sqlalchemy as sa

from ml.catalog.logs.outbox import raise_alert, was_raised
from ml.catalog.models import attempts, evaluations
from ml.evaluation import champion_notices
from ml.settings import Settings


def tell_of_night(
    connection: sa.Connection, settings: Settings, version: int, accuracy: float, new_images: int
) -> None:
    """Tell of a champion below the floor and of enough new images; in the transaction that stores the check."""
    since = evaluations.below_floor_since(connection, version, settings.accuracy_floor)
    if since is not None:
        raise_alert(connection, *champion_notices.below_floor(version, accuracy, settings.accuracy_floor, since))
    if new_images >= settings.new_images_threshold:
        raise_alert(connection, *champion_notices.new_images(version, new_images, settings.new_images_threshold))


def tell_of_overdue(connection: sa.Connection, budget_minutes: float) -> None:
    """Tell of trainings that should have a verdict by now; not of those that are known to have failed."""
    for request_key in attempts.overdue_requests(connection, budget_minutes):
        if not was_raised(connection, champion_notices.failures_of(request_key)):
            raise_alert(connection, *champion_notices.retraining_overdue(request_key, budget_minutes))
