"""Notices about the champion: their texts, and the keys by which the outbox recognises the same event again."""

from collections.abc import Sequence

import sqlalchemy as sa

from ml.catalog.logs.outbox import Notice, raise_alert
from ml.catalog.models import evaluations
from ml.catalog.models.evaluations import Shortfall
from ml.catalog.models.journal import Move
from ml.figures import title_of
from ml.settings import Settings


def raise_nightly_alerts(
    connection: sa.Connection, settings: Settings, version: int, shortfalls: Sequence[Shortfall], new_images: int
) -> None:
    """Raise alerts for figures below their floors and for enough new images, in the check's own transaction."""
    for shortfall in shortfalls:
        since = evaluations.below_floor_since(connection, version, shortfall.label)
        raise_alert(connection, *below_floor(version, shortfall, since))
    if new_images >= settings.new_images_threshold:
        raise_alert(connection, *enough_new_images(version, new_images, settings.new_images_threshold))


def below_floor(version: int, shortfall: Shortfall, since: int | None) -> Notice:
    """Return the notice that a figure of the model in production is below its floor, over all classes or for one.

    Args: since, the id of the first nightly check that found this. It is one event until the figure recovers, or
        another version goes into production.
    """
    of_class = "" if shortfall.label is None else f"class {shortfall.label}:"
    what = (
        f"{title_of(shortfall.figure)} is below the floor"
        if shortfall.label is None
        else f"{shortfall.label} is below its floor"
    )
    return Notice(
        "below_floor",
        f"below-floor:version {version}:{of_class}since check {since}",
        f"{what}: {shortfall.value:.1%}",
        f"Version {version}, in production, on the evaluation set: {shortfall} "
        "The nightly check requests a retraining, unless one was tried with the same images.",
    )


def enough_new_images(version: int, count: int, threshold: int) -> Notice:
    """Return the notice that there are enough new images for a retraining."""
    return Notice(
        "new_images",
        f"new-images:version {version}",
        f"{count} new images",
        f"{count} images entered the pool since the snapshot of version {version}; the threshold is {threshold}.",
    )


def moved(move: Move) -> Notice:
    """Return the notice that the alias `production` moved to another version."""
    key = f"move:{move.id}"
    why = f"Before: {_name(move.from_version)}. By {move.actor}: {move.reason}"
    if move.kind == "rollback":
        body = f"{why}\nAutomatic promotion is held until `mycoflow release`."
        return Notice("rolled_back", key, f"Rolled back to {_name(move.to_version)}", body)
    if move.kind == "external":
        body = f"{why}\nThe gate did not judge it. `mycoflow rollback` puts the former version back."
        return Notice("moved_externally", key, f"Moved by hand in MLflow: {_name(move.to_version)}", body)
    return Notice("promoted", key, f"In production: {_name(move.to_version)}", why)


def _name(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
