"""Check over HTTP whether all servers are healthy."""

from collections.abc import Callable

import httpx

from ml.settings import Settings
from stack.environment import Addresses
from stack.follow import wait_for

AIRFLOW_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


def list_missing(settings: Settings, addresses: Addresses) -> list[str]:
    """List the servers and parts that do not answer yet or report a problem; empty if everything is healthy.

    Prometheus is not checked, because it is optional.
    """
    with httpx.Client(trust_env=False, timeout=5) as client:
        missing = _airflow(client, addresses.airflow)
        if settings.mlflow_tracking_uri is None and not _answers(client, f"{addresses.mlflow}/health"):
            missing.append("mlflow")
        if not _answers(client, f"{addresses.service}/status"):
            missing.append("service")
    return missing


def wait_until_healthy(
    settings: Settings, addresses: Addresses, check: Callable[[], None], timeout_seconds: float
) -> None:
    """Wait until all servers are healthy.

    Args: check, called before each look; it raises if waiting makes no sense any more.
    Raises: MycoflowError, it took too long; also every error of `check`.
    """

    def is_up() -> bool | None:
        check()
        return not list_missing(settings, addresses) or None

    wait_for("all servers to be healthy", is_up, timeout_seconds)


def is_answering(url: str) -> bool:
    """Whether an address answers with a status of success."""
    with httpx.Client(trust_env=False, timeout=5) as client:
        return _answers(client, url)


def _airflow(client: httpx.Client, url: str) -> list[str]:
    try:
        parts = client.get(f"{url}/api/v2/monitor/health").raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return ["airflow-api"]
    return [f"airflow {part}" for part in AIRFLOW_PARTS if parts.get(part, {}).get("status") != "healthy"]


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).is_success
    except httpx.HTTPError:
        return False
