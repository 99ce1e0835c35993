"""Send the alerts of the outbox: through Apprise to the addresses in MYCOFLOW_ALERT_URLS, and to Grafana as marks.

Errors here are logged, and the next call tries again: an alert never makes a step fail, and never delays it much.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import sqlalchemy as sa

from ml.app import Workspace, open_workspace
from ml.catalog.accounts.account_names import name_accounts
from ml.catalog.locks import DELIVERY
from ml.catalog.logs.outbox import Alert, Kind, Notice, note_try, unsent_alerts
from ml.deadlines import Deadline
from ml.reporting.grafana_api import is_configured
from ml.reporting.grafana_marks import annotate
from ml.reporting.message_links import add_links
from ml.settings import Settings

if TYPE_CHECKING:
    from apprise import Apprise

logger = logging.getLogger(__name__)

MOST_PER_CALL = 20
SECONDS_PER_CALL = 30.0
SECONDS_PER_MESSAGE = 10.0  # Apprise itself gives up after 4 seconds without a connection or an answer

_TYPES: dict[Kind, str] = {  # Apprise's types, which set the colour of a message; all other kinds are "info"
    "below_floor": "warning",
    "retraining_failed": "failure",
    "retraining_overdue": "warning",
    "task_failed": "failure",
    "not_served": "failure",
    "quarantine": "warning",
    "promoted": "success",
    "moved_externally": "warning",
}
# An address may contain commas, for example between the receivers of a mail.
_NEXT_ADDRESS = re.compile(r"[,\s]+(?=[A-Za-z][\w.+-]*://)")


@contextmanager
def alerting_workspace(settings: Settings | None = None) -> Iterator[Workspace]:
    """Open a workspace, and send pending alerts when it closes, even after an error.

    Raises: as open_workspace.
    """
    with open_workspace(settings) as workspace:
        try:
            yield workspace
        finally:
            deliver(workspace)


def deliver(workspace: Workspace) -> None:
    """Send pending alerts, unless another process is sending them now. Never raises.

    Without MYCOFLOW_ALERT_URLS no alert counts as sent, even if Grafana received it: another process on the same
    database may have the addresses. Each alert reaches each address at least once: if a process dies after sending an
    alert and before recording that, the alert is sent again.
    """
    addresses = _addresses(workspace.settings)
    if not addresses and not is_configured(workspace.settings):
        return
    try:
        with workspace.catalog.try_lock(DELIVERY) as is_ours:
            if is_ours:
                if addresses:  # before Grafana
                    _deliver(workspace, addresses)
                annotate(workspace.settings, workspace.catalog)
    except Exception:
        logger.exception("Alerts were not sent; the next call tries again.")


def _addresses(settings: Settings) -> list[str]:
    text = settings.alert_urls.get_secret_value() if settings.alert_urls else ""
    return [address for address in _NEXT_ADDRESS.split(text.strip().strip(",")) if address]


def _deliver(workspace: Workspace, addresses: Sequence[str]) -> None:
    with workspace.catalog.begin() as connection:
        waiting = unsent_alerts(connection, MOST_PER_CALL)
        messages = [_write(connection, workspace.settings, alert) for alert in waiting]
    if not waiting:
        return
    receivers = _open_receivers(addresses)
    deadline = Deadline(SECONDS_PER_CALL)
    for alert, message in zip(waiting, messages, strict=True):
        if deadline.remaining() == 0 or all(receiver.error for receiver in receivers):
            return
        sent_to = _send(message, alert.sent_to, receivers, deadline)
        missed = [receiver.error or "Out of time." for receiver in receivers if receiver.name not in sent_to]
        error = " ".join(missed) or None
        with workspace.catalog.begin() as connection:  # record each try at once: a later crash must not send it again
            note_try(connection, alert.id, sent_to, error)
        if error is not None:
            logger.warning("Alert %s was not sent to everybody: %s", alert.id, error)


def _write(connection: sa.Connection, settings: Settings, alert: Alert) -> "_Message":
    """Write an alert's message: with people's logins in place of account ids, and with links."""
    title, body = (name_accounts(connection, text) for text in (alert.title, alert.body))
    return _Message(alert.kind, title, add_links(alert.kind, body, settings))


def send_unkept(settings: Settings, notice: Notice) -> None:
    """Send a notice that the outbox cannot store, at once and once to each address. Errors are logged."""
    message = _Message(notice.kind, notice.title, add_links(notice.kind, notice.body, settings))
    receivers = _open_receivers(_addresses(settings))
    _send(message, [], receivers, Deadline(SECONDS_PER_CALL))
    for receiver in receivers:
        if receiver.error is not None:
            logger.warning("The alert %r was not sent: %s", notice.title, receiver.error)


def _open_receivers(addresses: Sequence[str]) -> "list[_Receiver]":
    return [_Receiver(number, address) for number, address in enumerate(addresses, start=1)]


def _send(
    message: "_Message", earlier: Sequence[str], receivers: Sequence["_Receiver"], deadline: Deadline
) -> list[str]:
    """Send to each receiver that lacks the message, except those whose last try failed.

    Args: earlier, names of the receivers that have the message already.
    Returns: the names of all receivers that have it now.
    """
    sent_to = list(earlier)
    for receiver in receivers:
        is_due = receiver.name not in sent_to and receiver.error is None
        if is_due and deadline.remaining() > 0 and receiver.send(message, deadline):
            sent_to.append(receiver.name)
    return sent_to


@dataclass(frozen=True)
class _Message:
    """The text of an alert."""

    kind: Kind
    title: str
    body: str


class _Receiver:
    """One address. Its name in the outbox is a hash, because the address holds secrets.

    Args: number, its place in MYCOFLOW_ALERT_URLS, from 1; address, a URL in Apprise's format.
    """

    def __init__(self, number: int, address: str) -> None:
        self.name = hashlib.sha256(address.encode()).hexdigest()[:16]
        self.error: str | None = None
        self._address = address
        self._title = f"Address {number} ({address.partition('://')[0]})"
        self._apprise = _open(address)

    def send(self, message: _Message, deadline: Deadline) -> bool:
        """Try once to send a message.

        Returns: whether the address accepted it; if not, `error` says why.
        """
        if not self._apprise:
            self.error = f"{self._title}: Apprise cannot read it. Correct MYCOFLOW_ALERT_URLS."
            return False
        answer = self._apprise.notify(
            title=message.title,
            body=message.body,
            notify_type=_TYPES.get(message.kind, "info"),
            timeout=min(SECONDS_PER_MESSAGE, deadline.remaining()),
            log_level=logging.WARNING,
        )
        if not answer:
            reason = " ".join(entry.message for entry in answer.logs()) or answer.status.name.lower()
            self.error = f"{self._title}: {self._without_secrets(reason)}"
        return bool(answer)

    def _without_secrets(self, text: str) -> str:
        for part in re.split(r"[^\w.-]+", unquote(self._address))[1:]:
            text = text.replace(part, "***") if len(part) > 3 else text
        return text


def _open(address: str) -> "Apprise":
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - most steps send nothing, and the service never does

    receiver = Apprise(asset=AppriseAsset(app_id="Mycoflow"))
    receiver.add(address)  # stays empty if Apprise cannot read the address
    return receiver
