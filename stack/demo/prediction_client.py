"""The demo's client of the prediction service, over HTTP."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import httpx
from PIL import Image

from ml.ingest.validation import sanitise

LONGEST_SIDE = 1024  # pixels; the network sees fewer


@dataclass(frozen=True)
class Answer:
    """The service's answer to an image."""

    name: str
    model_version: int


def small_copy(path: Path) -> bytes:
    """Return an image file, or a smaller copy where it is large: the service takes smaller files than ingestion."""
    content = path.read_bytes()
    with Image.open(BytesIO(sanitise(content).content)) as image:
        if max(image.size) <= LONGEST_SIDE:
            return content
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        copy = BytesIO()
        image.convert("RGB").save(copy, "JPEG", quality=90)
    return copy.getvalue()


def ask(url: str, credentials: tuple[str, str], image: bytes) -> Answer | None:
    """Send an image for prediction.

    Args: credentials, login and password; image, the content of a file.
    Returns: the answer, or None while no model is loaded.
    """
    answer = httpx.post(f"{url}/predictions", files={"file": image}, auth=credentials, trust_env=False, timeout=30)
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return None
    body = answer.raise_for_status().json()
    return Answer(body["results"][0]["name"], int(body["model"]["version"]))
