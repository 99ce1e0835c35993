"""A batch outlives the service that works on it."""

import io
import os
import signal
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.object_store import archive_key
from ml.catalog.tables import batch_photos
from ml.settings import Settings

COUNT = 200


@pytest.mark.usefixtures("cached_model")
def test_a_killed_service_goes_on_with_its_batch_when_it_is_back(
    start: Callable[..., Any], catalog: Catalog, settings: Settings, png: Callable[[int], bytes]
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(COUNT):
            archive.writestr(f"{number}.png", png(number))
    service = start()
    service.wait_for(lambda: service.get("/readyz").status_code == 200)
    url = f"{service.address}/prediction-batches"
    sent = httpx.post(url, files={"file": ("a.zip", file.getvalue())}, headers=service.headers, timeout=60)
    assert sent.status_code == 202
    service.wait_for(lambda: count_named(catalog) >= 5)
    kill(service)
    named = count_named(catalog)
    assert 5 <= named < COUNT
    back = start()
    back.wait_for(lambda: count_named(catalog) == COUNT)
    with catalog.begin() as connection:
        tries = connection.scalars(sa.select(batch_photos.c.tries)).all()
    assert sum(tries) <= COUNT + 1  # the photo that was under way had another one
    back.wait_for(lambda: not catalog.store.exists(archive_key(1)))
    assert list(Path(settings.mycoflow_home / "uploads").iterdir()) == []


def count_named(catalog: Catalog) -> int:
    with catalog.begin() as connection:
        named = sa.select(sa.func.count()).where(batch_photos.c.state == "named")
        return connection.execute(named).scalar_one()


def kill(service: Any) -> None:
    """Kill gunicorn and its worker, which would otherwise see that its master is gone, and end in peace."""
    with suppress(ProcessLookupError):
        os.killpg(service.process.pid, signal.SIGKILL)
    service.process.wait()
    while service.has_processes():
        time.sleep(0.05)
