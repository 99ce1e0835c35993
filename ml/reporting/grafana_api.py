"""Open the Grafana at MYCOFLOW_GRAFANA_URL with grafana-client, and turn its errors into Mycoflow's."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ml.errors import GrafanaError, GrafanaUnavailableError, SettingsError
from ml.settings import Settings

if TYPE_CHECKING:
    from grafana_client import GrafanaApi

SECONDS_PER_ANSWER = 4.0
_STATUS_OF_ALL_REQUESTS = frozenset({401, 403, 407, 408, 429})  # after one of these, the next request fails as well


def is_configured(settings: Settings) -> bool:
    """Whether the settings name a Grafana and a token."""
    return settings.grafana_url is not None and settings.grafana_token is not None


def open_grafana(settings: Settings) -> "GrafanaApi":
    """Return a client. It sends no request yet.

    Raises: SettingsError, no address or no token.
    """
    from grafana_client import GrafanaApi  # noqa: PLC0415 - most commands never use Grafana

    if settings.grafana_url is None or settings.grafana_token is None:
        raise SettingsError(
            "MYCOFLOW_GRAFANA_URL, MYCOFLOW_GRAFANA_TOKEN: expected the address of a Grafana and the token of a "
            "service account with the role Editor there (Administration, Users and access, Service accounts), got none."
        )
    url = settings.grafana_url.rstrip("/") + "/"  # the client appends paths without a slash
    try:
        return GrafanaApi.from_url(url, settings.grafana_token.get_secret_value(), timeout=SECONDS_PER_ANSWER)
    except ValueError as error:
        raise SettingsError(f"MYCOFLOW_GRAFANA_URL: expected a web address, got something else ({error}).") from error


@contextmanager
def translated_errors(task: str) -> Iterator[None]:
    """Turn the errors of grafana-client inside the block into Mycoflow's.

    Args: task, the request to Grafana in words, such as "to store a dashboard".
    Raises:
        GrafanaError, Grafana refuses this request.
        GrafanaUnavailableError, Grafana does not answer, or refuses every request.
    """
    from grafana_client.client import GrafanaException  # noqa: PLC0415

    try:
        yield
    except GrafanaException as error:
        is_unavailable = error.status_code >= 500 or error.status_code in _STATUS_OF_ALL_REQUESTS
        raise (GrafanaUnavailableError if is_unavailable else GrafanaError)(
            f"Expected Grafana {task}, got status {error.status_code}: {error.message}. "
            + _ADVICE.get(error.status_code, "")
        ) from error
    except (OSError, ValueError) as error:  # of requests: no connection, no answer in time, no JSON
        raise GrafanaUnavailableError(
            f"Expected Grafana {task}, got no usable answer ({type(error).__name__}). Check MYCOFLOW_GRAFANA_URL."
        ) from error


def expect(answer: Any, key: str) -> Any:
    """Return one value of Grafana's answer.

    Args: key, the name of a value that the answer always has.
    Raises: ValueError, something other than the API answered, such as a login page.
    """
    if not isinstance(answer, dict) or key not in answer:
        raise ValueError(f"Expected an answer with {key}. Received: {str(answer)[:100]!r}")
    return answer[key]


_ADVICE = {
    400: "A dashboard that is provisioned from files cannot be replaced: it is current already.",
    401: "Give MYCOFLOW_GRAFANA_TOKEN the token of a service account.",
    403: "Give the service account of MYCOFLOW_GRAFANA_TOKEN the role Editor.",
}
