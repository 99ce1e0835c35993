"""Tables that a site publishes once a month are pulled once a month."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ml.errors import SourceUnavailableError
from ml.ingest.sources.arrivals import ArrivedFile
from tests.ml.ingest.test_table_photos import BOTH, MUSHROOM_OBSERVER, collection, make_a_day_older

LONG_AGO = "Wed, 01 Jan 2025 00:00:00 GMT"


class MonthlySite:
    """Tables with validators. It records each request as (table, status)."""

    def __init__(self, offers: frozenset[str]) -> None:
        self.offers = offers
        self.tables = {f"/{name}": text.encode() for name, text in MUSHROOM_OBSERVER.items()}
        self.versions = dict.fromkeys(self.tables, 1)
        self.answered: list[tuple[str, int]] = []
        self.is_moved = False

    def validators(self, path: str) -> dict[str, str]:
        version = self.versions[path]
        found = {"ETag": f'"{path}-{version}"', "Last-Modified": f"Wed, 0{version} Jan 2025 00:00:00 GMT"}
        return {name: value for name, value in found.items() if name in self.offers}

    def change(self, name: str, content: bytes | None = None) -> None:
        self.versions[f"/{name}"] += 1
        if content is not None:
            self.tables[f"/{name}"] = content

    def statuses(self) -> list[int]:
        answered, self.answered = [status for _, status in self.answered], []
        return answered


@pytest.fixture
def serve_site() -> Iterator[Callable[[MonthlySite], int]]:
    """serve_site(site) -> the port where it answers."""
    servers = []

    def serve(site: MonthlySite) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.removeprefix("/moved")
                if site.is_moved and path == self.path:
                    self.send_response(302)
                    self.send_header("Location", f"/moved{path}")
                    self.end_headers()
                    return
                validators = site.validators(path)
                asked = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
                known = [self.headers.get(asked[name]) == value for name, value in validators.items()]
                status = 304 if known and all(known) else 200
                site.answered.append((path, status))
                self.send_response(status)
                for name, value in validators.items():
                    self.send_header(name, value)
                if status == 200:
                    self.send_header("Content-Length", str(len(site.tables[path])))
                self.end_headers()
                if status == 200:
                    self.wfile.write(site.tables[path])

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server.server_port

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def names(files: Iterator[ArrivedFile]) -> list[str]:
    return [file.name for file in files]


@pytest.mark.parametrize("is_moved", [False, True], ids=["", "redirected"])
@pytest.mark.parametrize(
    "offers", [{"ETag"}, {"Last-Modified"}, {"ETag", "Last-Modified"}], ids=lambda each: "+".join(sorted(each))
)
def test_tables_that_did_not_change_are_asked_for_and_not_pulled(
    serve_site: Callable[[MonthlySite], int], tmp_path: Path, offers: set[str], is_moved: bool
) -> None:
    site = MonthlySite(frozenset(offers))
    site.is_moved = is_moved
    source = collection("mushroom-observer", serve_site(site), tmp_path, BOTH)
    assert names(source.files()) == ["11", "12", "13"]
    assert site.statuses() == [200] * 4
    for _ in range(2):
        make_a_day_older(tmp_path)
        assert names(source.files()) == ["11", "12", "13"]
        assert site.statuses() == [304] * 4
    assert names(source.files()) == ["11", "12", "13"]
    assert site.statuses() == []


def test_a_table_that_changed_is_pulled_and_read_with_the_others(
    serve_site: Callable[[MonthlySite], int], tmp_path: Path
) -> None:
    site = MonthlySite(frozenset({"ETag"}))
    source = collection("mushroom-observer", serve_site(site), tmp_path, BOTH)
    names(source.files())
    site.change("observations.csv", site.tables["/observations.csv"].replace(b"\t0.4\t", b"\t2.4\t"))
    make_a_day_older(tmp_path)
    site.statuses()
    assert names(source.files()) == ["11", "12", "13", "14"]
    assert sorted(site.statuses()) == [200, 304, 304, 304]


def test_another_class_needs_no_other_tables(serve_site: Callable[[MonthlySite], int], tmp_path: Path) -> None:
    site = MonthlySite(frozenset({"ETag"}))
    port = serve_site(site)
    names(collection("mushroom-observer", port, tmp_path, BOTH).files())
    make_a_day_older(tmp_path)
    site.statuses()
    more = collection("mushroom-observer", port, tmp_path, (*BOTH, "Boletus edulis"))
    assert names(more.files()) == ["11", "12", "13", "15"]
    assert site.statuses() == [304] * 4


def test_a_damaged_table_is_pulled_again_although_the_site_says_it_is_the_same(
    serve_site: Callable[[MonthlySite], int], tmp_path: Path
) -> None:
    site = MonthlySite(frozenset({"ETag"}))
    source = collection("mushroom-observer", serve_site(site), tmp_path, BOTH)
    names(source.files())
    (images,) = tmp_path.rglob("images.csv")
    images.unlink()
    make_a_day_older(tmp_path)
    site.statuses()
    assert names(source.files()) == ["11", "12", "13"]
    assert sorted(site.statuses()) == [200, 304, 304, 304]


def test_an_etag_that_no_request_can_repeat_is_not_kept(
    serve_site: Callable[[MonthlySite], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = MonthlySite(frozenset({"ETag"}))
    monkeypatch.setattr(site, "validators", lambda _: {"ETag": '"é"'})
    source = collection("mushroom-observer", serve_site(site), tmp_path, BOTH)
    for _ in range(2):
        assert names(source.files()) == ["11", "12", "13"]
        assert site.statuses() == [200] * 4
        make_a_day_older(tmp_path)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["photos.jsonl"]


def test_a_site_that_does_not_answer_keeps_the_tables_for_another_night(
    serve_site: Callable[[MonthlySite], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = MonthlySite(frozenset({"ETag"}))
    source = collection("mushroom-observer", serve_site(site), tmp_path, BOTH)
    names(source.files())
    make_a_day_older(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(SourceUnavailableError):
        patch.setattr(site, "validators", lambda _: 1 / 0)
        names(source.files())
    site.statuses()
    assert names(source.files()) == ["11", "12", "13"]
    assert site.statuses() == [304] * 4
