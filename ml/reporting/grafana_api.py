"""Talking to the Grafana at MYCOFLOW_GRAFANA_URL, with grafana-client, and its failures as our errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ml.errors import GrafanaError, GrafanaUnavailableError, SettingsError
from ml.settings import Settings

if TYPE_CHECKING:
    from grafana_client import GrafanaApi

SECONDS_PER_ANSWER = 4.0
_NOTHING_WILL_DO = frozenset({401, 403, 407, 408, 429})  # whatever is asked for next fails as well


def is_configured(settings: Settings) -> bool:
    """Whether there is a Grafana to talk to."""
    return settings.grafana_url is not None and settings.grafana_token is not None


def open_grafana(settings: Settings) -> "GrafanaApi":
    """A client. Nothing is asked yet.

    Raises: SettingsError, no address or no token.
    """
    from grafana_client import GrafanaApi  # noqa: PLC0415 - most commands never talk to Grafana

    if settings.grafana_url is None or settings.grafana_token is None:
        raise SettingsError(
            "MYCOFLOW_GRAFANA_URL, MYCOFLOW_GRAFANA_TOKEN: expected the address of a Grafana and the token of a "
            "service account with the role Editor there (Administration, Users and access, Service accounts), got none."
        )
    url = settings.grafana_url.rstrip("/") + "/"  # the client joins what follows without a slash
    try:
        return GrafanaApi.from_url(url, settings.grafana_token.get_secret_value(), timeout=SECONDS_PER_ANSWER)
    except ValueError as error:
        raise SettingsError(f"MYCOFLOW_GRAFANA_URL: expected an address, got one that is none ({error}).") from error


@contextmanager
def translated_errors(task: str) -> Iterator[None]:
    """Turn what goes wrong inside into our errors.

    Args: task, what Grafana was asked for, as in "to store a dashboard".
    Raises:
        GrafanaError, it refuses this.
        GrafanaUnavailableError, it does not answer, or refuses whatever it is asked.
    """
    from grafana_client.client import GrafanaException  # noqa: PLC0415

    try:
        yield
    except GrafanaException as error:
        hopeless = error.status_code >= 500 or error.status_code in _NOTHING_WILL_DO
        raise (GrafanaUnavailableError if hopeless else GrafanaError)(
            f"Expected Grafana {task}, got status {error.status_code}: {error.message}. "
            + _ADVICE.get(error.status_code, "")
        ) from error
    except (OSError, ValueError) as error:  # of requests: no connection, no answer in time, no JSON
        raise GrafanaUnavailableError(
            f"Expected Grafana {task}, got no answer that makes sense ({type(error).__name__}). "
            "Check MYCOFLOW_GRAFANA_URL."
        ) from error


def expect(answer: Any, key: str) -> Any:
    """What Grafana answered. Args: key, what it always names.

    Raises: ValueError, another page answered, such as a log-in form.
    """
    if not isinstance(answer, dict) or key not in answer:
        raise ValueError(f"Expected an answer with {key}. Received: {str(answer)[:100]!r}")
    return answer[key]


_ADVICE = {
    400: "A dashboard that is provisioned from files cannot be replaced: it is current already.",
    401: "Give MYCOFLOW_GRAFANA_TOKEN the token of a service account.",
    403: "Give the service account of MYCOFLOW_GRAFANA_TOKEN the role Editor.",
}
