"""Hostile URLs and files: each is refused with its code, and nothing of it is stored."""

import gzip
import io
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from PIL import Image

from ml.catalog.database import Catalog
from ml.catalog.tables import metadata
from ml.settings import Settings

OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
INSIDE = "http://127.0.0.1:{other}/secret"
LEADING_INSIDE = [
    INSIDE,
    *("http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0177.0.0.1/", "http://017700000001/"),
    *("http://0x7f000001/", "http://0x7f.0.0.1/", "http://0/", "http://localhost/", "http://LOCALHOST/"),
    *("http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
    *("http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[::127.0.0.1]/", "http://[fe80::1]/"),
    *("http://10.0.0.1/", "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://224.0.0.1/"),
    *("file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1:6379/_INFO", "data:image/png;base64,iVBO"),
    *("http://user:password@{server}/slow-body", "http://{server}@127.0.0.1/", "http://127.0.0.1:{other}#@{server}/"),
    *("http://{server}\\@127.0.0.1/", "http:/{server}/a", "//{server}/a", "http://{server}/a b", "not a url", ""),
    *("http://{server}/redirect-to-loopback", "http://{server}/redirect-to-localhost"),
    *("http://{server}/redirect-to-metadata", "http://{server}/redirect-to-file"),
]


@cache
def gzip_bomb() -> bytes:
    """100 MB in 100 KB."""
    return gzip.compress(bytes(100_000_000))


@pytest.fixture
def hits() -> list[str]:
    """What was asked of the server that must not be reached."""
    return []


@pytest.fixture
def other(serve_script: Callable[..., int], hits: list[str], png: Callable[[int], bytes]) -> int:
    """A service inside, with an image that nobody may have."""

    def script(path: str, connection: socket.socket) -> None:
        hits.append(path)
        connection.sendall(OK + b"Connection: close\r\n\r\n" + png(1))

    return serve_script(script)


@pytest.fixture
def server(serve_script: Callable[..., int], other: int) -> str:
    """A web server that the deployment allows, up to no good."""

    def repeat(connection: socket.socket, part: bytes, pause_seconds: float) -> None:
        while True:
            connection.sendall(part)
            time.sleep(pause_seconds)

    def script(path: str, connection: socket.socket) -> None:
        redirects = {
            "/redirect-to-loopback": INSIDE.format(other=other),
            "/redirect-to-localhost": "http://localhost/",
            "/redirect-to-inside": "http://database/photo.png",
            "/redirect-to-unknown": "http://unknown.example/photo.png",
            "/redirect-to-metadata": "http://169.254.169.254/latest/meta-data/",
            "/redirect-to-file": "file:///etc/passwd",
            "/redirect-loop": "/redirect-loop",
        }
        if path in redirects:
            connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {redirects[path]}\r\n\r\n".encode())
        elif path == "/endless-body":
            connection.sendall(OK + b"\r\n")
            repeat(connection, bytes(100_000), 0)
        elif path == "/slow-body":
            connection.sendall(OK + b"Content-Length: 1000\r\n\r\n")
            repeat(connection, b"\x89", 0.05)
        elif path == "/slow-headers":
            connection.sendall(OK)
            repeat(connection, b"X: y\r\n", 0.05)
        elif path == "/gzip-bomb":
            connection.sendall(OK + b"Content-Encoding: gzip\r\n\r\n" + gzip_bomb())

    gzip_bomb()  # before the seconds of a request are counted
    return f"127.0.0.1:{serve_script(script)}"


@pytest.fixture
def request_seconds() -> float:
    """More than a busy machine takes for any of these requests."""
    return 120


@pytest.fixture
def settings(settings: Settings, server: str, request_seconds: float) -> Settings:
    return settings.model_copy(update={"fetch_allowed_hosts": server, "request_seconds": request_seconds})


@pytest.fixture
def store(settings: Settings) -> Callable[[], list[str]]:
    """Lists the files in the image store."""
    return lambda: [path.name for path in (settings.mycoflow_home / "store").rglob("*") if path.is_file()]


def _count_rows(catalog: Catalog) -> dict[str, int]:
    tables = [table for table in metadata.sorted_tables if table.name not in ("accounts", "tokens", "page_keys")]
    with catalog.begin() as connection:
        count = sa.select(sa.func.count())
        return {str(table): connection.execute(count.select_from(table)).scalar_one() for table in tables}


@pytest.fixture
def untouched(
    catalog: Catalog, store: Callable[[], list[str]], hits: list[str], serve_version: Callable[[int], None]
) -> Iterator[None]:
    """A model is in production; afterwards nothing is stored and nobody inside was asked."""
    serve_version(1)
    before = _count_rows(catalog)
    yield
    assert _count_rows(catalog) == before
    assert set(before.values()) == {0}
    assert store() == []
    assert hits == []


def _refusal(answer: Any) -> tuple[int, str]:
    assert answer.mimetype == "application/problem+json"
    return answer.status_code, answer.json["type"].rpartition(":")[2]


@pytest.mark.usefixtures("untouched")
def test_a_url_that_leads_inside_is_refused(user: FlaskClient, server: str, other: int) -> None:
    answers = {}
    for pattern in LEADING_INSIDE:
        url = pattern.format(server=server, other=other)
        answers[f"GET {pattern}"] = _refusal(user.get("/predictions", query_string={"file": url}))
        answers[f"POST {pattern}"] = _refusal(user.post("/predictions", json={"url": url}))
    assert answers == dict.fromkeys(answers, (400, "target-refused"))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.8", "169.254.169.254"])
def test_a_name_that_resolves_inside_is_refused(
    address: str, user: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: resolved)
    answer = user.get("/predictions", query_string={"file": "http://images.example/photo.png"})
    assert _refusal(answer) == (400, "target-refused")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("is_redirected", [False, True])
def test_a_name_of_the_inside_and_one_that_does_not_exist_get_one_answer(
    method: str, is_redirected: bool, server: str, user: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, really = [], socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **named: Any) -> list[Any]:
        if host == server.partition(":")[0]:
            return really(host, *arguments, **named)
        asked.append(host)
        if host == "unknown.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.8", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    answers = []
    for name, path in (("database", "inside"), ("unknown.example", "unknown")):
        url = f"http://{server}/redirect-to-{path}" if is_redirected else f"http://{name}/photo.png"
        answer: Any = (
            user.get("/predictions", query_string={"file": url})
            if method == "GET"
            else user.post("/predictions", json={"url": url})
        )
        detail = answer.json["detail"].replace(url, "URL")
        answers.append((answer.status_code, {**answer.json, "request_id": None, "detail": detail}))
    assert asked == ["database", "unknown.example"]
    assert answers[0][0] == 400
    assert answers[0] == answers[1]


@pytest.mark.usefixtures("untouched")
def test_a_name_that_means_something_else_the_second_time_gains_nothing(
    user: FlaskClient, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = chain(["93.184.215.14"], iter(lambda: "127.0.0.1", None))
    connected = []

    def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        assert host == "images.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(addresses), other))]

    def refuse(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", refuse)
    answer = user.get("/predictions", query_string={"file": "http://images.example/photo.png"})
    assert _refusal(answer) == (502, "target-failed")
    assert connected == ["93.184.215.14"]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("path", "refusal", "request_seconds"),
    [
        ("/endless-body", (413, "too-large"), 120),
        ("/slow-body", (504, "target-too-slow"), 1.5),
        ("/slow-headers", (504, "target-too-slow"), 1.5),
        ("/gzip-bomb", (502, "target-failed"), 120),
        ("/redirect-loop", (502, "target-failed"), 120),
    ],
)
def test_a_server_that_misbehaves_is_given_up(
    path: str, refusal: tuple[int, str], user: FlaskClient, server: str
) -> None:
    assert _refusal(user.get("/predictions", query_string={"file": f"http://{server}{path}"})) == refusal


def _png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _bomb() -> bytes:
    """300 MB of pixels in 300 KB."""
    return _png(10_000, 10_000, zlib.compress(bytes(300_010_000)))


def _overflow() -> bytes:
    """More pixels than the header says."""
    return _png(64, 64, zlib.compress(bytes(50_000_000)))


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        # Dated: behind a GIF's header, the bytes of the time of day are read as the picture's size.
        archive.writestr(zipfile.ZipInfo("photo.png", (2026, 5, 1, 0, 0, 0)), b"\x89PNG\r\n\x1a\n")
    return buffer.getvalue()


def _animation() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (_bomb, 413),
        (lambda: _png(60_000, 60_000, b""), 413),
        (lambda: _png(2**31 - 1, 2**31 - 1, b""), 413),
        (lambda: bytes(4 * 1024 * 1024 + 1), 413),
        (lambda: _png(64, 64, b"no zlib"), 415),
        (lambda: _png(0, 0, b""), 415),
        (lambda: b"GIF89a" + _zip(), 415),
        (_zip, 415),
        (_animation, 415),
        (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 415),
        (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(/etc/passwd) (r) file", 415),
        (lambda: b"\xff\xd8\xff\xe0<?php system($_GET['c']); ?>", 415),
        (lambda: b"push graphic-context\nimage over 0,0 0,0 'https://127.0.0.1/'", 415),
    ],
)
def test_a_hostile_file_is_refused(content: Callable[[], bytes], status: int, post: Callable[..., Any]) -> None:
    assert _refusal(post(content()))[0] == status


def test_a_polyglot_is_stored_without_its_other_half(
    post: Callable[..., Any], png: Callable[[int], bytes], serve_version: Callable[[int], None], settings: Settings
) -> None:
    serve_version(1)
    assert post(png(1) + _zip() + b"<script>alert(1)</script>").status_code == 200
    (stored,) = [path for path in (settings.mycoflow_home / "store").rglob("*") if path.is_file()]
    assert b"<script>" not in stored.read_bytes()
    assert not zipfile.is_zipfile(stored)


def test_pixels_past_the_headers_size_are_not_unpacked(
    post: Callable[..., Any], serve_version: Callable[[int], None], settings: Settings
) -> None:
    serve_version(1)
    assert post(_overflow()).status_code == 200
    (stored,) = [path for path in (settings.mycoflow_home / "store").rglob("*") if path.is_file()]
    assert stored.stat().st_size < 1000
