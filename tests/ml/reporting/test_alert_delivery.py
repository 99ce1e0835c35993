"""Delivery of alerts: the real Apprise, the real outbox, and a local webhook that is up, down, silent or refuses."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from typer.testing import CliRunner

from ml.app import Workspace, open_registry
from ml.catalog.accounts.account_names import name_accounts
from ml.catalog.accounts.user_accounts import add_account
from ml.catalog.database import Catalog
from ml.catalog.locks import DELIVERY
from ml.catalog.logs.outbox import Alert, Kind, latest_alerts, raise_alert
from ml.cli.alert_commands import alerts_app
from ml.errors import SettingsError
from ml.reporting import alert_delivery
from ml.reporting.alert_delivery import alerting_workspace, deliver
from ml.settings import Settings, load_settings


@dataclass
class Webhook:
    """A receiver: the messages that it got, and its next answers."""

    port: int
    status: int = 200
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.received]


StartWebhook = Callable[..., Webhook]


@pytest.fixture
def start_webhook() -> Iterator[StartWebhook]:
    """Starts webhooks, on a given or a free port."""
    with ExitStack() as stack:

        def start(port: int = 0, status: int = 200) -> Webhook:
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_POST(self) -> None:
                    message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                    if webhook.status == 200:
                        webhook.received.append(message)
                    self.send_response(webhook.status)
                    self.end_headers()

                def log_message(self, *_: object) -> None:
                    """Log nothing."""

            server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
            webhook = Webhook(server.server_address[1], status)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return webhook

        yield start


@pytest.fixture
def webhook(start_webhook: StartWebhook) -> Webhook:
    return start_webhook()


@pytest.fixture
def open_to(settings: Settings, catalog: Catalog) -> Callable[..., Workspace]:
    """A workspace that sends alerts to these addresses. Its MLflow is never used."""

    def open_it(*addresses: str) -> Workspace:
        chosen = {"alert_urls": SecretStr(", ".join(addresses)), "mlflow_tracking_uri": "http://127.0.0.1:1"}
        told = settings.model_copy(update=chosen)
        return Workspace(told, catalog, open_registry(told))

    return open_it


OpenTo = Callable[..., Workspace]


def put(catalog: Catalog, *keys: str) -> None:
    with catalog.begin() as connection:
        for key in keys:
            raise_alert(connection, "below_floor", key, f"title of {key}", "what happened")


def outbox(catalog: Catalog) -> list[Alert]:
    with catalog.begin() as connection:
        return list(reversed(latest_alerts(connection, 100)))


def test_an_alert_is_sent_once(catalog: Catalog, webhook: Webhook, open_to: OpenTo) -> None:
    workspace = open_to(f"json://127.0.0.1:{webhook.port}")
    put(catalog, "one")
    deliver(workspace)
    deliver(workspace)
    (message,) = webhook.received
    assert (message["title"], message["type"]) == ("title of one", "warning")
    assert message["message"] == "what happened\nWhat to do: docs/operations.md#accuracybelowfloor"
    (alert,) = outbox(catalog)
    assert (alert.tries, alert.last_error, alert.sent_at is None) == (1, None, False)


def test_alerts_that_a_dead_receiver_missed_are_sent_when_it_is_back(
    catalog: Catalog, start_webhook: StartWebhook, open_to: OpenTo, free_tcp_port: int
) -> None:
    workspace = open_to(f"json://127.0.0.1:{free_tcp_port}")
    put(catalog, "one", "two")
    deliver(workspace)
    first, second = outbox(catalog)
    assert (first.tries, second.tries) == (1, 0)  # the same call does not try it again
    assert "Address 1 (json)" in str(first.last_error)
    webhook = start_webhook(free_tcp_port)
    deliver(workspace)
    assert webhook.titles == ["title of two", "title of one"]
    assert all(alert.sent_at and alert.last_error is None for alert in outbox(catalog))


def test_other_receivers_get_no_second_copy_when_one_refuses(
    catalog: Catalog, start_webhook: StartWebhook, open_to: OpenTo
) -> None:
    good, bad = start_webhook(), start_webhook(status=503)
    workspace = open_to(f"json://127.0.0.1:{bad.port}", f"json://127.0.0.1:{good.port}")
    put(catalog, "one", "two")
    deliver(workspace)
    deliver(workspace)
    assert good.titles == ["title of one", "title of two"]
    assert all("503" in str(alert.last_error) for alert in outbox(catalog))
    bad.status = 200
    deliver(workspace)
    assert sorted(bad.titles) == sorted(good.titles) == ["title of one", "title of two"]


def test_delivery_does_not_wait_long_for_a_silent_receiver(catalog: Catalog, open_to: OpenTo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        workspace = open_to(f"json://127.0.0.1:{silent.getsockname()[1]}?rto=0.3")
        put(catalog, "one", "two", "three")
        started = time.monotonic()
        deliver(workspace)
        assert time.monotonic() - started < 30  # the receiver never answers
    assert [alert.tries for alert in outbox(catalog)] == [1, 0, 0]


def test_one_call_sends_a_limited_number_and_the_next_call_continues(
    catalog: Catalog, webhook: Webhook, open_to: OpenTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_delivery, "MOST_PER_CALL", 2)
    workspace = open_to(f"json://127.0.0.1:{webhook.port}")
    put(catalog, "one", "two", "three")
    deliver(workspace)
    assert webhook.titles == ["title of one", "title of two"]
    deliver(workspace)
    assert webhook.titles[2:] == ["title of three"]


def test_a_call_ends_when_its_time_is_over(
    catalog: Catalog, webhook: Webhook, open_to: OpenTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_delivery, "SECONDS_PER_CALL", 0.0)
    put(catalog, "one")
    deliver(open_to(f"json://127.0.0.1:{webhook.port}"))
    assert webhook.received == []
    assert outbox(catalog)[0].tries == 0


def test_without_addresses_alerts_stay_for_a_process_that_has_addresses(
    settings: Settings, catalog: Catalog, webhook: Webhook, open_to: OpenTo
) -> None:
    put(catalog, "one")
    deliver(replace(open_to(), settings=settings))
    assert (outbox(catalog)[0].tries, outbox(catalog)[0].sent_at) == (0, None)
    deliver(open_to(f"json://127.0.0.1:{webhook.port}"))
    assert webhook.titles == ["title of one"]


def test_an_address_that_apprise_cannot_read_is_named_and_the_others_get_the_alert(
    catalog: Catalog, webhook: Webhook, open_to: OpenTo
) -> None:
    put(catalog, "one")
    deliver(open_to(f"json://127.0.0.1:{webhook.port}", "pigeon://loft"))
    assert webhook.titles == ["title of one"]
    assert outbox(catalog)[0].last_error == "Address 2 (pigeon): Apprise cannot read it. Correct MYCOFLOW_ALERT_URLS."


def test_a_stored_error_contains_no_secret(catalog: Catalog, open_to: OpenTo, free_tcp_port: int) -> None:
    put(catalog, "one")
    deliver(open_to(f"json://me:pass%21word@127.0.0.1:{free_tcp_port}/hook/t0ken?+X-Key=he4der"))
    kept = str(outbox(catalog)[0])
    assert not [secret for secret in ("pass", "t0ken", "he4der", "127.0.0.1") if secret in kept]


def test_a_comma_inside_an_address_does_not_end_it() -> None:
    both = "mailto://me:secret@example.org?to=a@example.org,b@example.org, ntfy://topic"
    addresses = alert_delivery._addresses(Settings(alert_urls=SecretStr(both)))
    assert addresses == ["mailto://me:secret@example.org?to=a@example.org,b@example.org", "ntfy://topic"]


def test_a_value_that_is_no_address_is_a_wrong_setting_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYCOFLOW_ALERT_URLS", "my secret topic")
    with pytest.raises(SettingsError, match=r"MYCOFLOW_ALERT_URLS.*ntfy://") as raised:
        load_settings()
    assert "secret" not in str(raised.value)


def test_two_processes_do_not_send_the_same_alert(catalog: Catalog, webhook: Webhook, open_to: OpenTo) -> None:
    put(catalog, "one")
    with catalog.try_lock(DELIVERY):
        deliver(open_to(f"json://127.0.0.1:{webhook.port}"))
    assert webhook.received == []


def test_a_broken_outbox_raises_no_error(
    catalog: Catalog, webhook: Webhook, open_to: OpenTo, caplog: pytest.LogCaptureFixture
) -> None:
    with catalog.begin() as connection:
        connection.execute(sa.text("DROP TABLE logs.alerts"))
    deliver(open_to(f"json://127.0.0.1:{webhook.port}"))
    assert "the next call tries again" in caplog.text


def test_an_alert_raised_before_an_error_is_sent_too(webhook: Webhook, open_to: OpenTo) -> None:
    settings = open_to(f"json://127.0.0.1:{webhook.port}").settings
    with pytest.raises(RuntimeError), alerting_workspace(settings) as workspace:
        put(workspace.catalog, "one")
        raise RuntimeError
    assert webhook.titles == ["title of one"]


def test_the_command_line_lists_sent_and_unsent_alerts(
    settings: Settings, catalog: Catalog, open_to: OpenTo, free_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("MYCOFLOW_HOME", str(settings.mycoflow_home))
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setattr("ml.cli.alert_commands.out.width", 200)
    assert "No alert yet" in list_alerts()
    put(catalog, "one")
    deliver(open_to(f"json://127.0.0.1:{free_tcp_port}"))
    put(catalog, "two")
    listed = list_alerts("--count", "2")
    assert "tried 1 times: Address 1 (json)" in listed
    assert listed.index("title of two") < listed.index("title of one")
    assert "MYCOFLOW_ALERT_URLS is empty here" in listed


def test_messages_have_logins_and_stored_alerts_have_no_names(
    catalog: Catalog, webhook: Webhook, open_to: OpenTo
) -> None:
    ada = add_account(catalog, "ada", "admin", "correct horse battery")
    with catalog.begin() as connection:
        body = f"By account:{ada.id}, after account:{ada.id + 1}: because"
        raise_alert(connection, "promoted", "one", "In production: version 2", body)
        connection.execute(sa.text("SET LOCAL ROLE training"))  # it sends, and may read only the logins of accounts
        assert name_accounts(connection, body) == "By ada, after a former account: because"
    deliver(open_to(f"json://127.0.0.1:{webhook.port}"))
    assert webhook.received[0]["message"].startswith("By ada, after a former account: because\n")
    assert outbox(catalog)[0].body == body


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_message_links_to_the_place_to_act(catalog: Catalog, webhook: Webhook, open_to: OpenTo, kind: Kind) -> None:
    update = {
        "airflow_url": "http://airflow:8080/",
        "airflow_public_url": "https://airflow.example.org/",
        "public_url": "https://mycoflow.example.org/",
        "runbook_url": "https://wiki.example.org/operations.md",
    }
    with catalog.begin() as connection:
        raise_alert(connection, kind, "one", "title", "what happened")
    workspace = open_to(f"json://127.0.0.1:{webhook.port}")
    deliver(replace(workspace, settings=workspace.settings.model_copy(update=update)))
    lines = webhook.received[0]["message"].splitlines()
    guide = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
    headings = {line.lstrip("# ").lower().replace(" ", "-") for line in guide.splitlines() if line.startswith("#")}
    address, _, heading = lines[-1].removeprefix("What to do: ").partition("#")
    assert (address, heading in headings) == ("https://wiki.example.org/operations.md", True)
    places = {
        "promotion_waiting": ["Answer: https://mycoflow.example.org/versions"],
        "retraining_overdue": ["Runs: https://airflow.example.org/dag_runs"],
        "retraining_failed": [],  # these have the address of their own log
        "task_failed": [],
    }
    assert lines[1:-1] == places.get(kind, ["Report: https://mycoflow.example.org/health/report"])


def list_alerts(*arguments: str) -> str:
    result = CliRunner().invoke(alerts_app, arguments)
    assert result.exit_code == 0, result.output
    return result.output
