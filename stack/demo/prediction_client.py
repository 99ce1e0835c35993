"""The demo's client of the prediction service, over HTTP."""

from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Answer:
    """The service's answer to an image."""

    name: str
    model_version: int


def ask(url: str, credentials: tuple[str, str], image: Path) -> Answer | None:
    """Send an image for prediction.

    Args: credentials, login and password.
    Returns: the answer, or None while no model is loaded.
    """
    answer = httpx.post(
        f"{url}/predictions", files={"file": image.read_bytes()}, auth=credentials, trust_env=False, timeout=30
    )
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return None
    body = answer.raise_for_status().json()
    return Answer(body["results"][0]["name"], int(body["model"]["version"]))
