"""`mycoflow batch ...`: arguments in, text out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image
from typer.testing import CliRunner

from ml.catalog.database import Catalog
from ml.catalog.tables import ingest_batches, items
from ml.cli.batch_commands import batch_app
from ml.deadlines import Deadline
from ml.errors import UnknownBatchError
from ml.ingest.folder import ingest_folder
from ml.ingest.intake import BatchRules, ingest_source
from ml.ingest.sources.drop_folder import DropFolder
from ml.settings import Settings
from tests.ml.dropping import settle

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `mycoflow batch ...` on the test's database; expected errors are raised."""
    assert settings.database_url is not None
    monkeypatch.setenv("MYCOFLOW_HOME", str(settings.mycoflow_home))
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("COLUMNS", "200")

    def run_command(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(batch_app, arguments)
        if isinstance(result.exception, UnknownBatchError):
            raise result.exception
        return result.exit_code, result.output

    return run_command


@pytest.fixture
def arrive(catalog: Catalog, tmp_path: Path) -> Callable[[int, int], int]:
    """arrive(good, bad) makes a batch of `good` images and `bad` other files. Returns: the number of the batch."""
    seeds = iter(range(1000))

    def arrived(good: int, bad: int) -> int:
        folder = tmp_path / f"drop {next(seeds)}"
        (folder / "a").mkdir(parents=True)
        for seed in (next(seeds) for _ in range(good)):
            pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "a" / f"{seed}.png")
        for number in range(bad):
            (folder / "a" / f"bad {number}.txt").write_text("no image")
        rules = BatchRules(require_certification=True, quarantine_share=0.3)
        (batch_id,) = ingest_source(catalog, DropFolder(settle(folder)), rules, Deadline(60))
        return batch_id

    return arrived


def test_an_empty_list_says_where_batches_come_from(run: Run) -> None:
    assert "ingest_images" in run("list")[1]


def test_waiting_batches_are_listed_first(run: Run, arrive: Callable[[int, int], int]) -> None:
    waiting, quarantined, done = arrive(3, 0), arrive(1, 9), arrive(2, 0)
    assert run("certify", str(done)) == (0, "2 images certified.\n")
    lines = [line for line in run("list")[1].splitlines() if "file://" in line]
    assert [line.split()[1] for line in lines] == [str(quarantined), str(waiting), str(done)]
    assert ["quarantined" in lines[0], "90%" in lines[0], "waiting" in lines[1], "done" in lines[2]] == [True] * 4
    lines = [line for line in run("list", "--count", "2")[1].splitlines() if "file://" in line]
    assert [line.split()[1] for line in lines] == [str(quarantined), str(waiting)]


def test_a_batch_is_shown_with_its_reasons_and_contact_sheet(
    run: Run, arrive: Callable[[int, int], int], tmp_path: Path
) -> None:
    batch_id = arrive(2, 25)
    status, said = run("show", str(batch_id), "--contact-sheet", str(tmp_path / "sheet.jpg"))
    assert status == 0
    assert "rejected (not_an_image): 25" in said
    assert "waiting (quarantine): 2" in said
    assert "bad 0.txt: expected a JPEG" in said
    assert "... and 5 more" in said
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG"


def test_a_batch_without_rejects_has_no_contact_sheet_and_says_so(
    run: Run, arrive: Callable[[int, int], int], tmp_path: Path
) -> None:
    status, said = run("show", str(arrive(2, 0)), "--contact-sheet", str(tmp_path / "sheet.jpg"))
    assert (status, "has no contact sheet" in said, (tmp_path / "sheet.jpg").exists()) == (0, True, False)


def test_names_that_look_like_markup_are_shown_as_they_are(
    run: Run, arrive: Callable[[int, int], int], catalog: Catalog, tmp_path: Path
) -> None:
    batch_id = str(arrive(2, 1))
    with catalog.begin() as connection:
        connection.execute(sa.update(ingest_batches).values(source="/p/[/red]"))
    assert "/p/[/red]" in run("list")[1]
    status, said = run("show", batch_id, "--contact-sheet", str(tmp_path / "[b]sheet.jpg"))
    assert (status, "/p/[/red]" in said, "[b]sheet.jpg" in said.replace("\n", "")) == (0, True, True)


def test_several_batches_are_certified_or_rejected_at_once(run: Run, arrive: Callable[[int, int], int]) -> None:
    batches = [str(arrive(2, 0)) for _ in range(3)]
    assert run("certify", *batches[:2]) == (0, "4 images certified.\n")
    assert run("reject", batches[2]) == (0, "2 images excluded.\n")
    assert "done" in run("list")[1]


def test_a_rejection_undoes_a_certificate_and_is_undone_for_single_images_only(
    run: Run, arrive: Callable[[int, int], int], catalog: Catalog
) -> None:
    batch, other = str(arrive(3, 0)), str(arrive(2, 0))
    run("certify", batch, other)
    assert run("reject", batch) == (0, "3 images excluded.\n")
    with catalog.begin() as connection:
        states = connection.execute(sa.select(items.c.held_back, sa.func.count()).group_by(items.c.held_back)).all()
        assert dict(states) == {"excluded": 3, None: 2}
        in_pool = sa.select(sa.func.count()).where(
            items.c.held_back == "excluded", items.c.entered_pool_at.is_not(None)
        )
        assert connection.scalar(in_pool) == 0
    assert run("reject", batch) == (0, "0 images excluded.\n")
    assert run("certify", batch) == (0, "0 images certified.\n")


def test_a_rejection_leaves_what_a_person_brought_since(
    run: Run, arrive: Callable[[int, int], int], catalog: Catalog, tmp_path: Path
) -> None:
    batch = arrive(2, 0)
    (dropped,) = tmp_path.glob("drop */a")
    ingest_folder(catalog, dropped.parent, "pool")
    assert run("reject", str(batch)) == (0, "0 images excluded.\n")


def test_an_unknown_batch_is_refused(run: Run) -> None:
    with pytest.raises(UnknownBatchError, match="mycoflow batch list"):
        run("certify", "7")
