"""Alerts on versions in production that are not served, from rows such as the service's processes write."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import latest_alerts
from ml.catalog.models.served_versions import ServingState, forget_process, living_processes, note_state
from ml.catalog.tables import promotions, served_models
from ml.reporting.health import read_health
from ml.reporting.serving_notices import LOADING, alert_if_unserved, describe_serving
from ml.settings import Settings

AddChampion = Callable[..., None]
MINUTE = timedelta(minutes=1)


def serve(catalog: Catalog, process: str, *state: object, alive_for: timedelta = 5 * MINUTE) -> None:
    with catalog.begin() as connection:
        note_state(connection, process, ServingState(*state), alive_for)  # type: ignore[arg-type]


def let_pass(catalog: Catalog, time: timedelta) -> None:
    """Move all stored times into the past, as if this much time had passed."""
    with catalog.begin() as connection:
        connection.execute(sa.update(promotions).values(completed_at=promotions.c.completed_at - time))
        connection.execute(sa.update(served_models).values(started_at=served_models.c.started_at - time))


def told(catalog: Catalog) -> list[str]:
    with catalog.begin() as connection:
        alert_if_unserved(connection)
        return [alert.body for alert in latest_alerts(connection, 10)]


def served(catalog: Catalog) -> str:
    with catalog.begin() as connection:
        health = read_health(connection, Settings())
    return describe_serving(health.champion, health.serving)


def test_without_a_model_or_a_service_there_is_no_alert(catalog: Catalog, add_champion: AddChampion) -> None:
    assert told(catalog) == []
    serve(catalog, "a", None)
    assert told(catalog) == []
    with catalog.begin() as connection:
        forget_process(connection, "a")
    add_champion(1, 0.9)
    let_pass(catalog, timedelta(days=1))
    assert told(catalog) == []
    assert served(catalog) == "No process of the service has reported itself."


@pytest.mark.parametrize("version", [None, 1])
def test_a_loading_version_raises_an_alert_only_after_the_time_for_loading(
    catalog: Catalog, add_champion: AddChampion, version: int | None
) -> None:
    serve(catalog, "a", version)
    add_champion(2, 0.9)
    let_pass(catalog, LOADING - MINUTE)
    assert told(catalog) == []
    let_pass(catalog, MINUTE)
    (body,) = told(catalog)
    assert body.startswith(f"Served: {'version 1' if version else 'no version'} by 1 process. ")
    assert told(catalog) == [body]


def test_a_new_process_has_time_to_load(catalog: Catalog, add_champion: AddChampion) -> None:
    add_champion(2, 0.9)
    let_pass(catalog, timedelta(days=3))
    serve(catalog, "a", 1)
    assert told(catalog) == []


def test_a_version_that_does_not_load_raises_an_alert_at_once_with_the_reason(
    catalog: Catalog, add_champion: AddChampion
) -> None:
    add_champion(2, 0.9)
    serve(catalog, "a", 1, 2, "A file is damaged.")
    serve(catalog, "b", 2)
    assert served(catalog) == (
        "Served: version 1 by 1 process, version 2 by 1 process. Version 2 does not load: A file is damaged."
    )
    (body,) = told(catalog)
    assert "Version 2 does not load: A file is damaged." in body
    serve(catalog, "a", 2)
    assert served(catalog) == "Served: version 2 by 2 processes."


def test_a_failed_load_of_a_version_no_longer_in_production_raises_no_alert(
    catalog: Catalog, add_champion: AddChampion
) -> None:
    serve(catalog, "a", 3, 2, "A file is damaged.")
    add_champion(3, 0.9)
    assert told(catalog) == []
    assert "does not load" not in served(catalog)


def test_a_killed_process_counts_until_its_state_has_expired(catalog: Catalog, add_champion: AddChampion) -> None:
    add_champion(2, 0.9)
    serve(catalog, "killed", 1, 2, "A file is damaged.", alive_for=timedelta(0))
    serve(catalog, "b", 2)
    assert told(catalog) == []
    with catalog.begin() as connection:
        assert [process.process for process in living_processes(connection)] == ["b"]
        connection.execute(sa.update(served_models).values(alive_until=sa.func.now() - timedelta(days=2)))
    serve(catalog, "c", 2)
    with catalog.begin() as connection:
        assert connection.scalars(sa.select(served_models.c.process)).all() == ["c"]
