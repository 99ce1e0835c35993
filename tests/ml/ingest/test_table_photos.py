"""Collections that publish tables: a few rows in the published formats, from a server that really listens."""

import gzip
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from ml.catalog.database import Catalog
from ml.catalog.images.batches import load_files
from ml.catalog.tables import image_rights, items
from ml.deadlines import Deadline
from ml.errors import InvalidImageError, SourceError, SourceUnavailableError
from ml.ingest.intake import BatchRules, ingest_source
from ml.ingest.sources import nightly_files, table_photos
from ml.ingest.sources.arrivals import ArrivedFile, Source
from ml.ingest.sources.opening import open_source
from ml.settings import Settings

Serve = Callable[..., int]
BOTH = ("Amanita muscaria", "Coprinus comatus")
RULES = BatchRules(require_certification=True, quarantine_share=0.9)

MUSHROOM_OBSERVER = {
    "names.csv": "id\ttext_name\tauthor\tdeprecated\tcorrect_spelling_id\tsynonym_id\trank\n"
    "1\tAmanita muscaria\t(L.) Lam.\t0\tNULL\tNULL\tSpecies\n"
    '2\tCoprinus comatus\t"O.F. Müll.\t0\tNULL\tNULL\tSpecies\n'
    "3\tBoletus edulis\tBull.\t0\tNULL\tNULL\tSpecies\n",
    "observations.csv": "id\tname_id\twhen\tlocation_id\tlat\tlng\talt\tvote_cache\t"
    "is_collection_location\tthumb_image_id\n"
    "70\t1\t2024-10-03\t5\tNULL\tNULL\tNULL\t2.8\t1\t11\n"
    "71\t2\t2024-10-04\t5\tNULL\tNULL\tNULL\t2.1\t1\t13\n"
    "72\t1\t2024-10-05\t5\tNULL\tNULL\tNULL\t0.4\t1\t14\n"
    "73\t3\t2024-10-05\t5\tNULL\tNULL\tNULL\t2.9\t1\t15\n"
    "74\t1\t2024-10-06\t5\tNULL\tNULL\tNULL\tNULL\t1\t16\n",
    "images_observations.csv": "image_id\tobservation_id\n11\t70\n12\t70\n13\t71\n14\t72\n15\t73\n16\t74\n17\t70\n",
    "images.csv": "id\tcontent_type\tcopyright_holder\tlicense\tok_for_export\tdiagnostic\n"
    "13\timage/jpeg\tBob\tCC BY-NC-SA 3.0\t1\t1\n"
    "11\timage/jpeg\tAda Gray\tCC BY-SA 3.0\t1\t1\n"
    "12\timage/jpeg\tAda Gray\tCC BY-SA 3.0\t1\t1\n"
    "14\timage/jpeg\tAda Gray\tCC BY-SA 3.0\t1\t1\n"
    "15\timage/jpeg\tAda Gray\tCC BY-SA 3.0\t1\t1\n"
    "16\timage/jpeg\tAda Gray\tCC BY-SA 3.0\t1\t1\n"
    "17\timage/jpeg\tAda Gray\tCC BY-SA 3.0\t0\t1\n"
    "a row that\ta line break cut\n",
}
INATURALIST = {
    "taxa.csv.gz": "taxon_id\tancestry\trank_level\trank\tname\tactive\n"
    "48715\t1/2\t10\tspecies\tAmanita muscaria\ttrue\n"
    "48716\t1/2\t10\tspecies\tBoletus edulis\ttrue\n",
    "observations.csv.gz": "observation_uuid\tobserver_id\tlatitude\tlongitude\tpositional_accuracy\ttaxon_id\t"
    "quality_grade\tobserved_on\n"
    "aa-1\t7\t1.0\t2.0\t5\t48715\tresearch\t2024-10-03\n"
    "aa-2\t7\t1.0\t2.0\t5\t48715\tneeds_id\t2024-10-03\n"
    "aa-3\t8\t1.0\t2.0\t5\t48716\tresearch\t2024-10-03\n",
    "photos.csv.gz": "photo_uuid\tphoto_id\tobservation_uuid\tobserver_id\textension\tlicense\t"
    "width\theight\tposition\n"
    "p1\t502\taa-1\t7\tjpeg\tCC-BY-NC\t2048\t1536\t1\n"
    "p2\t501\taa-1\t7\tjpg\tCC0\t2048\t1536\t0\n"
    "p3\t503\taa-2\t7\tjpg\tCC0\t2048\t1536\t0\n"
    "p4\t504\taa-3\t8\tjpg\tCC0\t2048\t1536\t0\n",
    "observers.csv.gz": "observer_id\tlogin\tname\n7\tada\tAda Gray\n8\tbob\t\n",
}


class Site:
    """A collection's web site: tables and photos, of which some may be out of order."""

    def __init__(self, tables: dict[str, str], photo: Callable[[int], bytes]) -> None:
        packed = {name: text.encode() for name, text in tables.items()}
        self.contents = {
            f"/{name}": gzip.compress(content) if name.endswith(".gz") else content for name, content in packed.items()
        }
        self.asked: list[str] = []
        self.statuses: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        self.cut_off: set[str] = set()
        self._photo = photo

    def answer(self, path: str, connection: socket.socket) -> None:
        self.asked.append(path)
        status = self.statuses.get(path, 200)
        content = self.contents.get(path)
        if content is None:
            content = self._photo(int(re.findall(r"\d+", path)[-1]))
        length = len(content) + (path in self.cut_off)
        head = f"HTTP/1.1 {status} x\r\n{self.headers.get(path, '')}Content-Length: {length}\r\n\r\n".encode()
        connection.sendall(head + content)

    @property
    def photos_asked(self) -> list[str]:
        return [path for path in self.asked if path not in self.contents]


@pytest.fixture
def photo(textured: Callable[..., Image.Image], encode: Callable[..., bytes]) -> Callable[[int], bytes]:
    return lambda number: encode(textured(number), "PNG")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_photos, "PAUSE_SECONDS", 0.0)


def collection(kind: str, port: int, home: Path, labels: tuple[str, ...], more: str = "") -> Source:
    settings = Settings(mycoflow_home=home, fetch_allowed_hosts=f"127.0.0.1:{port}")
    url = f"{kind}+http://127.0.0.1:{port}?photos=http://127.0.0.1:{port}{more}"
    return open_source(url, settings, labels)


def offered(source: Source) -> list[ArrivedFile]:
    return list(source.files())


def test_mushroom_observers_tables_give_photos_with_name_observation_and_rights(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, BOTH)
    found = offered(source)
    assert [(file.name, file.label, file.group) for file in found] == [
        ("11", "Amanita muscaria", "mushroom-observer:70"),
        ("12", "Amanita muscaria", "mushroom-observer:70"),
        ("13", "Coprinus comatus", "mushroom-observer:71"),
    ]
    rights = [(file.rights.licence, file.rights.holder) for file in found if file.rights is not None]
    assert rights == [("CC BY-SA 3.0", "Ada Gray"), ("CC BY-SA 3.0", "Ada Gray"), ("CC BY-NC-SA 3.0", "Bob")]
    found[0].read()
    assert site.photos_asked == ["/640/11.jpg"]


def test_inaturalists_tables_give_photos_of_research_grade(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    site = Site(INATURALIST, photo)
    port = serve_script(site.answer)
    found = offered(collection("inaturalist", port, tmp_path, ("Amanita muscaria",), "&label=Boletus%20edulis"))
    assert [(file.name, file.label, file.group) for file in found] == [
        ("501", "Amanita muscaria", "inaturalist:aa-1"),
        ("502", "Amanita muscaria", "inaturalist:aa-1"),
        ("504", "Boletus edulis", "inaturalist:aa-3"),
    ]
    rights = [(file.rights.licence, file.rights.holder) for file in found if file.rights is not None]
    assert rights == [("CC0", "Ada Gray"), ("CC-BY-NC", "Ada Gray"), ("CC0", "bob")]
    found[1].read()
    assert site.photos_asked == ["/photos/502/medium.jpeg"]


def test_a_photo_is_taken_once(
    catalog: Catalog, serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, BOTH)
    site.statuses["/640/13.jpg"] = 404
    assert len(ingest_source(catalog, source, RULES, Deadline(60))) == 1
    assert ingest_source(catalog, source, RULES, Deadline(60)) == []
    with catalog.begin() as connection:
        holders = connection.scalars(sa.select(image_rights.c.holder)).all()
        groups = connection.scalars(sa.select(items.c.group_key)).all()
    assert (holders, groups) == (["Ada Gray"] * 2, ["mushroom-observer:70"] * 2)
    assert site.photos_asked == ["/640/11.jpg", "/640/12.jpg", "/640/13.jpg"]


def test_a_photo_that_is_named_late_or_asked_for_late_is_taken(
    catalog: Catalog, serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    port = serve_script(site.answer)
    ingest_source(catalog, collection("mushroom-observer", port, tmp_path, ("Boletus edulis",)), RULES, Deadline(60))
    assert site.photos_asked == ["/640/15.jpg"]
    named = site.contents["/observations.csv"].replace(b"\t0.4\t", b"\t2.4\t")
    site.contents["/observations.csv"] = named
    make_a_day_older(tmp_path)
    more = collection("mushroom-observer", port, tmp_path, ("Boletus edulis",), "&label=Amanita%20muscaria")
    ingest_source(catalog, more, RULES, Deadline(60))
    assert site.photos_asked[1:] == ["/640/11.jpg", "/640/12.jpg", "/640/14.jpg"]


def make_a_day_older(home: Path) -> None:
    for path in home.rglob("*.*"):
        yesterday = path.stat().st_mtime - 24 * 3600
        os.utime(path, (yesterday, yesterday))


def test_tables_are_pulled_once_a_night(serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, ("Boletus edulis",))
    assert len(offered(source)) == len(offered(source)) == 1
    assert len(site.asked) == 4
    make_a_day_older(tmp_path)
    offered(source)
    assert len(site.asked) == 8
    assert [path.name for path in tmp_path.rglob("*.*")] == ["photos.jsonl"]


def test_after_a_failure_only_the_missing_tables_are_asked_for(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    site.statuses["/images.csv"] = 503
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, ("Boletus edulis",))
    with pytest.raises(SourceUnavailableError, match=r"images\.csv cannot be had now"):
        offered(source)
    site.statuses.clear()
    assert len(offered(source)) == 1
    assert site.asked.count("/names.csv") == 1
    assert site.asked.count("/images.csv") == 2


def test_a_table_that_was_cut_off_is_not_asked_for_again_that_night(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    site.cut_off.add("/images.csv")
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, ("Boletus edulis",))
    with pytest.raises(SourceUnavailableError, match=r"images\.csv cannot be had now"):
        offered(source)
    site.cut_off.clear()
    with pytest.raises(SourceUnavailableError, match=r"images\.csv cannot be had tonight: .* after 20 hours"):
        offered(source)
    assert site.asked.count("/images.csv") == 1
    assert list(tmp_path.rglob("*.part")) == []
    make_a_day_older(tmp_path)
    assert len(offered(source)) == 1
    assert [path.name for path in tmp_path.rglob("*.*")] == ["photos.jsonl"]


def test_a_download_that_did_not_live_to_its_end_counts_too(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, ("Boletus edulis",))

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(nightly_files, "fetch_file", die)
        offered(source)
    with pytest.raises(SourceUnavailableError, match=r"names\.csv cannot be had tonight: the download was interrupted"):
        offered(source)
    assert site.asked == []


@pytest.mark.parametrize("damage", [b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xff\xff\xff", b"no gzip"], ids=["deflate", "magic"])
def test_a_damaged_table_is_removed_and_not_asked_for_again_that_night(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path, damage: bytes
) -> None:
    site = Site(INATURALIST, photo)
    whole, site.contents["/taxa.csv.gz"] = site.contents["/taxa.csv.gz"], damage
    source = collection("inaturalist", serve_script(site.answer), tmp_path, ("Amanita muscaria",))
    with pytest.raises(SourceError, match=r"taxa\.csv\.gz cannot be read: expected a whole table"):
        offered(source)
    assert list(tmp_path.rglob("taxa.csv.gz")) == []
    site.contents["/taxa.csv.gz"] = whole
    with pytest.raises(SourceUnavailableError, match=r"tonight: taxa\.csv\.gz cannot be read"):
        offered(source)
    assert site.asked.count("/taxa.csv.gz") == 1
    (note,) = tmp_path.rglob("*.failed")
    note.unlink()
    assert len(offered(source)) == 2


def test_a_table_that_is_not_there_or_another_is_told(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    site.contents["/names.csv"] = b"id,name\n1,Amanita muscaria\n"
    port = serve_script(site.answer)
    with pytest.raises(SourceError, match=r"names\.csv: expected the columns text_name too"):
        offered(collection("mushroom-observer", port, tmp_path / "one", ("Boletus edulis",)))
    site.statuses["/names.csv"] = 404
    with pytest.raises(SourceError, match=r"names\.csv cannot be had"):
        offered(collection("mushroom-observer", port, tmp_path / "two", ("Boletus edulis",)))


def test_comma_separated_tables_are_read_too(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    tables = {name: text.replace("\t", ",") for name, text in MUSHROOM_OBSERVER.items()}
    tables["names.csv"] = 'id,text_name,author\n1,"Amanita muscaria","(L.), Lam."\n'
    site = Site(tables, photo)
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, ("Amanita muscaria",))
    assert [file.name for file in offered(source)] == ["11", "12"]


def test_a_photo_is_asked_for_three_times_and_then_refused_alone(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, ("Boletus edulis",))
    site.statuses["/640/15.jpg"] = 500
    (file,) = offered(source)
    with pytest.raises(InvalidImageError) as refusal:
        file.read()
    assert (refusal.value.reason, site.photos_asked) == ("unreachable", ["/640/15.jpg"] * 3)


def test_a_photo_that_leads_where_we_do_not_go_is_refused_alone(
    catalog: Catalog, serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    site.statuses["/640/11.jpg"], site.headers["/640/11.jpg"] = 302, "Location: http://127.0.0.1:1/private\r\n"
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, BOTH)
    (batch_id,) = ingest_source(catalog, source, RULES, Deadline(60))
    with catalog.begin() as connection:
        found = {file.name: (file.outcome, file.reason) for file in load_files(connection, batch_id)}
    waits = ("waiting", "unknown_label")
    assert found == {"11": ("rejected", "refused"), "12": waits, "13": waits}


def test_photos_are_taken_slowly(
    serve_script: Serve, photo: Callable[[int], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(MUSHROOM_OBSERVER, photo)
    source = collection("mushroom-observer", serve_script(site.answer), tmp_path, BOTH)
    found = offered(source)
    monkeypatch.setattr(table_photos, "PAUSE_SECONDS", 0.2)
    began = time.monotonic()
    for file in found:
        file.read()
    assert time.monotonic() - began >= 0.2 * len(found)
