"""Annotations in Grafana for alerts: from the real outbox, through grafana-client."""

import socket
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml.app import Workspace, open_registry
from ml.catalog import tables
from ml.catalog.database import Catalog
from ml.catalog.logs.outbox import Alert, Kind, latest_alerts, raise_alert
from ml.reporting import grafana_api
from ml.reporting.alert_delivery import alerting_workspace, deliver
from ml.settings import Settings
from tests.monitoring.grafana.stand_in import Grafana, settings_for

StartGrafana = Callable[..., Grafana]
OpenTo = Callable[[int], Workspace]


@pytest.fixture
def open_to(settings: Settings, catalog: Catalog) -> OpenTo:
    """A workspace that writes annotations to a port. Its MLflow is never used."""

    def open_it(port: int) -> Workspace:
        grafana_settings = settings_for(port)
        chosen = {"grafana_url": grafana_settings.grafana_url, "grafana_token": grafana_settings.grafana_token}
        told = settings.model_copy(update={**chosen, "mlflow_tracking_uri": "http://127.0.0.1:1"})
        return Workspace(told, catalog, open_registry(told))

    return open_it


def put(catalog: Catalog, title: str, kind: Kind = "below_floor") -> None:
    with catalog.begin() as connection:
        raise_alert(connection, kind, title, title, "What <happened>.")


def outbox(catalog: Catalog) -> list[Alert]:
    with catalog.begin() as connection:
        return list(reversed(latest_alerts(connection, 100)))


def test_every_promotion_rollback_and_alert_becomes_one_annotation(
    catalog: Catalog, grafana: Grafana, open_to: OpenTo
) -> None:
    put(catalog, "Version 2 is in production", "promoted")
    put(catalog, "Back to version 1", "rolled_back")
    put(catalog, "Accuracy is below the floor")
    deliver(open_to(grafana.port))
    deliver(open_to(grafana.port))
    tags = [mark["tags"] for mark in grafana.annotations]
    assert tags == [["mycoflow", "move", "promoted"], ["mycoflow", "move", "rolled_back"],
                    ["mycoflow", "alert", "below_floor"]]  # fmt: skip
    for mark, alert in zip(grafana.annotations, outbox(catalog), strict=True):
        assert mark["text"] == f"{alert.title}\nWhat &lt;happened&gt;."
        assert mark["time"] == int(alert.raised_at.timestamp() * 1000)


def test_an_annotation_does_not_count_as_a_sent_alert(catalog: Catalog, grafana: Grafana, open_to: OpenTo) -> None:
    put(catalog, "one")
    deliver(open_to(grafana.port))
    (alert,) = outbox(catalog)
    assert (alert.sent_at, alert.tries, len(alert.sent_to)) == (None, 0, 1)


def test_alerts_are_sent_with_and_without_grafana(
    catalog: Catalog, start_grafana: StartGrafana, open_to: OpenTo, free_tcp_port: int
) -> None:
    webhook = start_grafana()  # a receiver of alerts; Grafana itself is down
    put(catalog, "one")
    workspace = open_to(free_tcp_port)
    told = workspace.settings.model_copy(update={"alert_urls": SecretStr(f"json://127.0.0.1:{webhook.port}")})
    deliver(Workspace(told, catalog, workspace.registry))
    assert webhook.requests == ["POST /"]
    assert outbox(catalog)[0].tries == 1


def test_annotations_that_grafana_missed_are_written_when_it_is_back(
    catalog: Catalog, start_grafana: StartGrafana, open_to: OpenTo, free_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    put(catalog, "one")
    put(catalog, "two")
    with pytest.raises(RuntimeError, match="the step's own"), alerting_workspace(open_to(free_tcp_port).settings):
        raise RuntimeError("the step's own")
    assert "will be tried again" in caplog.text
    grafana = start_grafana(free_tcp_port)
    deliver(open_to(free_tcp_port))
    assert [mark["text"].split("\n")[0] for mark in grafana.annotations] == ["one", "two"]


def test_a_refused_annotation_does_not_stop_the_others(catalog: Catalog, grafana: Grafana, open_to: OpenTo) -> None:
    grafana.refused_text = "bad\nWhat &lt;happened&gt;."
    for title in ("bad", "good"):
        put(catalog, title)
    deliver(open_to(grafana.port))
    assert [mark["text"].split("\n")[0] for mark in grafana.annotations] == ["good"]


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_grafana_that_refuses_everything_gets_one_request(
    status: int, catalog: Catalog, grafana: Grafana, open_to: OpenTo
) -> None:
    grafana.failing = status
    put(catalog, "one")
    put(catalog, "two")
    deliver(open_to(grafana.port))
    assert len(grafana.requests) == 1


def test_delivery_does_not_wait_long_for_a_silent_grafana(
    catalog: Catalog, open_to: OpenTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grafana_api, "SECONDS_PER_ANSWER", 0.3)
    put(catalog, "one")
    put(catalog, "two")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        deliver(open_to(silent.getsockname()[1]))
        assert time.monotonic() - started < 30  # it never answers


def test_old_alerts_are_not_annotated(catalog: Catalog, grafana: Grafana, open_to: OpenTo) -> None:
    put(catalog, "one")
    with catalog.begin() as connection:
        past = tables.alerts.c.raised_at - timedelta(days=8)
        connection.execute(sa.update(tables.alerts).values(raised_at=past))
    deliver(open_to(grafana.port))
    assert grafana.requests == []
