"""The operator's morning of docs/operations.md, done by pages alone: from what is wrong to nothing."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.images.batches import FileOutcome, add_batch
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord
from ml.catalog.models import journal
from ml.catalog.object_store import image_key
from ml.data.membership import Arrival, wait
from tests.webapi.pages.conftest import find_barriers


@pytest.fixture
def night_of_trouble(catalog: Catalog, png: Callable[[int], bytes]) -> None:
    """Somebody rolled back, and a source brought a batch that waits in quarantine."""
    ids = [hashlib.sha256(png(seed)).hexdigest() for seed in (71, 72)]
    for sha256, seed in zip(ids, (71, 72), strict=True):
        catalog.store.put(image_key(sha256), png(seed))
    arrivals = [
        Arrival(ItemRecord("source", ImageRecord(each, "image/png", 40, 48, 100)), Annotation(("amanita",)))
        for each in ids
    ]
    files = [FileOutcome(f"{each}.png", "1", "amanita", "waiting", item_id=each) for each in ids]
    files.append(FileOutcome("torn.png", "1", "amanita", "rejected", "unreadable", "Expected an image."))
    with catalog.begin() as connection:
        wait(connection, arrivals, "source")
        add_batch(connection, "file:///drop", files, True, 0.33)
        journal.complete_move(connection, journal.write_intent(connection, "rollback", None, None, "ada", "at night"))


@pytest.mark.usefixtures("night_of_trouble")
def test_what_is_wrong_leads_to_where_it_is_mended(log_in_as: Callable[..., Any]) -> None:
    page = log_in_as("bob", "admin")

    def open_dashboard() -> str:
        page.get_by_role("link", name="Dashboard").click()
        page.get_by_role("heading", name="What is wrong now").wait_for()
        text: str = page.locator("main").inner_text()
        return text

    shown = open_dashboard()
    assert "1 batch waits because too many of its files were rejected." in shown
    assert "After a rollback no version is promoted by itself" in shown
    page.get_by_role("link", name="Promote automatically again").click()
    page.get_by_role("button", name="Release it").click()
    page.get_by_text("Automatic promotion is on again.").wait_for()

    assert "After a rollback" not in open_dashboard()
    page.get_by_role("link", name="Decide about the batches").click()
    page.get_by_role("heading", level=1, name="Batches of the sources").wait_for()
    assert find_barriers(page) == []
    page.locator("a[href$='/certify']").click()
    page.locator("main form button").click()
    page.get_by_text("Photos of batch 1 that are certified: 2").wait_for()
    shown = open_dashboard()
    assert "batch waits" not in shown
    assert "photos wait for a certificate" not in shown
    assert page.faults == []
