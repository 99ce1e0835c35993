"""Published tables with cells that are damaged, and photos that are in several observations."""

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ml.catalog.database import Catalog
from ml.catalog.images.batches import load_files
from ml.deadlines import Deadline
from ml.ingest.intake import ingest_source
from ml.ingest.sources.arrivals import ArrivedFile
from ml.ingest.sources.published_tables import read_table
from ml.ingest.sources.shared_photos import place_photos
from tests.ml.ingest.test_table_photos import BOTH, INATURALIST, MUSHROOM_OBSERVER, RULES, Serve, Site, collection

Photo = Callable[[int], bytes]
AGARIC, INKCAP = BOTH


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml.ingest.sources.table_photos.PAUSE_SECONDS", 0.0)


@pytest.fixture
def photo(textured: Callable[..., object], encode: Callable[..., bytes]) -> Photo:
    return lambda number: encode(textured(number), "PNG")


@pytest.fixture
def offer(serve_script: Serve, photo: Photo, tmp_path: Path) -> Callable[..., list[ArrivedFile]]:
    """offer(kind, tables) -> the photos of both species that a collection with these tables offers."""

    def offered(kind: str, tables: dict[str, str]) -> list[ArrivedFile]:
        return list(collection(kind, serve_script(Site(tables, photo).answer), tmp_path, BOTH).files())

    return offered


def rows(path: Path, content: bytes, *columns: str) -> list[tuple[str, ...]]:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return list(read_table(path, columns))


@pytest.mark.parametrize("delimiter", ["\t", ","], ids=["tab", "comma"])
@pytest.mark.parametrize("name", ["names.csv", "names.csv.gz"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_table_is_read_however_it_is_packed_and_marked(
    tmp_path: Path, delimiter: str, name: str, mark: bytes, end: str
) -> None:
    text = f"id,name{end}1,boletus{end}2,amanita{end}".replace(",", delimiter)
    assert rows(tmp_path / name, mark + text.encode(), "id", "name") == [("1", "boletus"), ("2", "amanita")]


@pytest.mark.parametrize(
    "cell", ["x" * 131_073, "x" * 1_000_000, "a\0b", '"', '"open', "\ufeff", "ä\x85ö", "²"], ids=repr
)
@pytest.mark.parametrize("delimiter", ["\t", ","], ids=["tab", "comma"])
def test_one_cell_takes_no_other_row_with_it(tmp_path: Path, cell: str, delimiter: str) -> None:
    before = [f"{number},b,{number}" for number in range(3)]
    after = [f"{number},b,{number}" for number in range(4, 70_000)]
    text = "\n".join(["id,name,last", *before, f"3,{cell},3", *after]).replace(",", delimiter)
    found = rows(tmp_path / "t.csv", text.encode(), "id")
    assert found[:3] == [("0",), ("1",), ("2",)]
    assert len(found) >= 69_999
    assert found[-1] == ("69999",)


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("repeats", [3, 30_000, 200_000])
def test_a_long_quoted_cell_with_line_breaks_hides_and_forges_no_row(tmp_path: Path, repeats: int, end: str) -> None:
    lines = ["id,name,last", *(f"{number},b,{number}" for number in range(70_000))]
    lines[500] = '499,"' + f"666,x,666{end}" * repeats + '",499'
    found = rows(tmp_path / "t.csv", end.join(lines).encode(), "id")
    assert found == [(str(number),) for number in range(70_000)]


@pytest.mark.parametrize("count", [10, 2000])
@pytest.mark.parametrize("damage", ['7,"open,7', '7,",7', '7,b,"', '"7,b,7', '7,"a"b,7', '7,"b\n7,7', '7,"b",7,"'])
@pytest.mark.parametrize("name", ["plain", '"quoted"', '"with ""quotes"""', '"two\nlines"', '5" nail'])
def test_a_damaged_row_takes_no_other_row_with_it_and_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int, damage: str, name: str
) -> None:
    lines = ["id,name,last", *(f"{number},{name},{number}" for number in range(count))]
    lines[8] = damage
    found = rows(tmp_path / "t.csv.gz", "\n".join(lines).encode(), "id")
    assert found == [(str(number),) for number in range(count) if number != 7]
    assert "t.csv.gz: " in caplog.text
    assert "rows cannot be read, and are skipped." in caplog.text


@pytest.mark.parametrize("holder", ["Ada\0Gray", "A" * 140_000, "\0"], ids=["NUL", "long", "only NUL"])
@pytest.mark.parametrize("kind", ["mushroom-observer", "inaturalist"])
def test_a_row_that_cannot_be_stored_is_a_recorded_reject(
    catalog: Catalog, serve_script: Serve, photo: Photo, tmp_path: Path, holder: str, kind: str
) -> None:
    tables = MUSHROOM_OBSERVER if kind == "mushroom-observer" else INATURALIST
    changed = {name: text.replace("Ada Gray", holder) for name, text in tables.items()}
    source = collection(kind, serve_script(Site(changed, photo).answer), tmp_path, (*BOTH, "Boletus edulis"))
    (batch_id,) = ingest_source(catalog, source, RULES, Deadline(60))
    with catalog.begin() as connection:
        found = load_files(connection, batch_id)
    assert {(file.outcome, file.reason) for file in found if file.outcome == "rejected"} == {
        ("rejected", "invalid_text")
    }
    assert any(file.outcome == "waiting" for file in found)
    assert all(len(file.message) < 250 and "\0" not in file.message for file in found if file.message)
    assert ingest_source(catalog, source, RULES, Deadline(60)) == []


@pytest.mark.parametrize("column", ["observation", "extension", "licence", "id"])
def test_nul_in_any_cell_blocks_nothing(
    catalog: Catalog, serve_script: Serve, photo: Photo, tmp_path: Path, column: str
) -> None:
    cells = {"observation": ("aa-1", "a\0a-1"), "extension": ("jpeg", "j\0g"), "licence": ("CC-BY-NC", "C\0C")}
    before, after = {**cells, "id": ("502", "50\x002")}[column]
    tables = {name: text.replace(before, after) for name, text in INATURALIST.items()}
    labels = (AGARIC, "Boletus edulis")
    source = collection("inaturalist", serve_script(Site(tables, photo).answer), tmp_path, labels)
    ingest_source(catalog, source, RULES, Deadline(60))
    assert ingest_source(catalog, source, RULES, Deadline(60)) == []


def test_an_id_that_is_no_number_is_left_out(offer: Callable[..., list[ArrivedFile]]) -> None:
    more = "".join(f"{id}\timage/jpeg\tBob\tCC0\t1\t1\n" for id in ("²", "9" * 5000, "-1", "1e3", "", "٣"))
    links = "".join(f"{id}\t70\n" for id in ("²", "9" * 5000, "-1", "1e3", "", "٣"))
    tables = dict(MUSHROOM_OBSERVER)
    tables["images.csv"] += more
    tables["images_observations.csv"] += links
    assert [file.name for file in offer("mushroom-observer", tables)] == ["11", "12", "13"]


def shared(kind: str, *links: tuple[int, str]) -> dict[str, str]:
    """Tables with more links of photos to observations."""
    if kind == "mushroom-observer":
        tables = dict(MUSHROOM_OBSERVER)
        tables["observations.csv"] += "".join(
            f"{id}\t{name}\t2024-10-03\t5\tNULL\tNULL\tNULL\t2.8\t1\t11\n" for id, name in ((90, 1), (91, 1), (92, 3))
        )
        tables["images_observations.csv"] += "".join(f"{photo}\t{id}\n" for photo, id in links)
        return tables
    tables = dict(INATURALIST)
    tables["taxa.csv.gz"] += "48717\t1/2\t10\tspecies\tCoprinus comatus\ttrue\n"
    tables["observations.csv.gz"] += "".join(
        f"{id}\t7\t1\t2\t5\t{taxon}\tresearch\t2024-10-03\n"
        for id, taxon in (("90", 48715), ("91", 48715), ("92", 48716))
    )
    tables["photos.csv.gz"] += "".join(f"p\t{photo}\t{id}\t7\tjpg\tCC0\t9\t9\t0\n" for photo, id in links)
    return tables


@pytest.mark.parametrize(
    ("kind", "first", "other"), [("mushroom-observer", 11, 12), ("inaturalist", 501, 502)], ids=["MO", "iNat"]
)
def test_a_photo_of_two_species_is_left_out_and_of_one_twice_joins_the_observations(
    offer: Callable[..., list[ArrivedFile]],
    caplog: pytest.LogCaptureFixture,
    kind: str,
    first: int,
    other: int,
) -> None:
    # Species 3, or taxon 48716, is none that was asked for.
    tables = shared(kind, (first, "92"), (other, "91"), (900, "91"), (900, "90"), (901, "90"))
    if kind == "mushroom-observer":
        tables["images.csv"] += "900\tx\tBob\tCC0\t1\t1\n901\tx\tBob\tCC0\t1\t1\n"
    found = offer(kind, tables)
    groups = {file.name: file.group for file in found if file.label == AGARIC}
    assert groups.keys() == {str(other), "900", "901"}
    assert len(set(groups.values())) == 1
    assert Counter(file.name for file in found).most_common(1)[0][1] == 1
    assert "1 photos are in observations of several species, and are left out." in caplog.text


def test_observations_are_joined_whatever_order_they_come_in() -> None:
    links = [("1", "70"), ("1", "9"), ("2", "71"), ("3", "9"), ("3", "71"), ("4", "100"), ("5", "missing")]
    named = dict.fromkeys(["70", "9", "71", "100"], "boletus")
    for order in (links, links[::-1], sorted(links, key=lambda link: link[1])):
        groups = {photo: place.group for photo, place in place_photos(order, named).items()}
        assert groups == {"1": "9", "2": "9", "3": "9", "4": "100"}


def test_an_observation_that_nobody_agrees_on_names_a_second_species_too() -> None:
    named = {"70": "boletus", "72": "amanita"}
    assert place_photos([("1", "70"), ("1", "72"), ("2", "70")], named).keys() == {"2"}
