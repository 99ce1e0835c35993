"""What people are told of the champion, in words, and what makes it one event."""

import sqlalchemy as sa

from ml.catalog.logs.outbox import Notice, raise_alert
from ml.catalog.models import evaluations
from ml.catalog.models.journal import Move
from ml.settings import Settings


def tell_of_night(
    connection: sa.Connection, settings: Settings, version: int, accuracy: float, new_images: int
) -> None:
    """Tell of a champion below the floor and of enough new images; in the transaction that stores the check."""
    since = evaluations.below_floor_since(connection, version, settings.accuracy_floor)
    if since is not None:
        raise_alert(connection, *below_floor(version, accuracy, settings.accuracy_floor, since))
    if new_images >= settings.new_images_threshold:
        raise_alert(connection, *enough_new_images(version, new_images, settings.new_images_threshold))


def below_floor(version: int, accuracy: float, floor: float, since: int) -> Notice:
    """The model in production is too often wrong.

    Args: since, the id of the first nightly check that found it so: one event until it recovers or another comes.
    """
    return Notice(
        "below_floor",
        f"below-floor:version {version}:since check {since}",
        f"Accuracy is below the floor: {accuracy:.1%}",
        f"Version {version}, in production, reaches {accuracy:.1%} on the evaluation set; the floor is {floor:.1%}. "
        "The nightly check asks for retraining where that was not tried with the same images.",
    )


def enough_new_images(version: int, count: int, threshold: int) -> Notice:
    """Enough is new for a retraining."""
    return Notice(
        "new_images",
        f"new-images:version {version}",
        f"{count} new images",
        f"{count} images entered the pool since version {version} learned; the threshold is {threshold}.",
    )


def moved(move: Move) -> Notice:
    """The alias `production` went from one version to another."""
    key = f"move:{move.id}"
    why = f"Before: {_name(move.from_version)}. By {move.actor}: {move.reason}"
    if move.kind == "rollback":
        body = f"{why}\nAutomatic promotion is held until `mycoflow release`."
        return Notice("rolled_back", key, f"Rolled back to {_name(move.to_version)}", body)
    if move.kind == "external":
        body = f"{why}\nNo gate looked at it. `mycoflow rollback` brings the former version back."
        return Notice("moved_externally", key, f"Moved by hand in MLflow: {_name(move.to_version)}", body)
    return Notice("promoted", key, f"In production: {_name(move.to_version)}", why)


def _name(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
