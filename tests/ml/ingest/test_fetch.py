"""Fetching from servers that really listen, well-behaved and not."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ml.deadlines import Deadline
from ml.errors import (
    FetchError,
    TargetFailedError,
    TargetMissingError,
    TargetRefusedError,
    TargetTooLargeError,
    TargetTooSlowError,
)
from ml.ingest.fetch import fetch_file, fetch_image
from ml.ingest.pictures.picture_limits import ANSWERING, INGESTION, Limits

Script = Callable[[str, socket.socket], None]
Serve = Callable[[Script], int]
# Enough for all that ends by itself, also on a busy machine; what never ends is given a second.
SECONDS = 60.0
FEW_SECONDS = 1.0


def fetch(port: int, path: str = "/photo", seconds: float = SECONDS) -> bytes:
    """From a local server, which the deployment allows."""
    return fetch_image(f"http://127.0.0.1:{port}{path}", f"127.0.0.1:{port}", Deadline(seconds))


def answer(status: str, *headers: str, body: bytes = b"") -> Script:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")
    return lambda _, connection: connection.sendall(head + body)


def found(body: bytes) -> Script:
    return answer("200 OK", f"Content-Length: {len(body)}", body=body)


def drip(first: bytes, again: bytes, pause_seconds: float = 0.05) -> Script:
    """Never stops: begins with one thing and goes on with another."""

    def script(_: str, connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(again)
            time.sleep(pause_seconds)

    return script


def redirect_to(location: str) -> Script:
    return answer("302 Found", f"Location: {location}", "Content-Length: 0")


def test_what_a_url_points_to_is_fetched(serve_script: Serve) -> None:
    assert fetch(serve_script(found(b"an image, perhaps"))) == b"an image, perhaps"


def test_a_chunked_body_without_a_length_is_fetched(serve_script: Serve) -> None:
    chunked = answer("200 OK", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert fetch(serve_script(chunked)) == b"abcde"


def test_three_redirects_are_followed(serve_script: Serve) -> None:
    def script(path: str, connection: socket.socket) -> None:
        step = int(path.removeprefix("/"))
        (redirect_to(f"/{step + 1}") if step < 3 else found(b"here"))(path, connection)

    port = serve_script(script)
    assert fetch(port, "/0") == b"here"
    with pytest.raises(TargetFailedError, match="at most 3 redirects"):
        fetch(port, "/-1")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed(status: int, serve_script: Serve) -> None:
    def script(path: str, connection: socket.socket) -> None:
        moved = answer(f"{status} Moved", "Location: /there", "Content-Length: 0")
        (found(b"here") if path == "/there" else moved)(path, connection)

    assert fetch(serve_script(script)) == b"here"


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/fotos/grün.jpg".encode(), "/fotos/gr%C3%BCn.jpg"),
        ("/fotos/grün.jpg".encode("latin-1"), "/fotos/gr%FCn.jpg"),
        ("/写真/きのこ.jpg?大=1".encode(), "/%E5%86%99%E7%9C%9F/%E3%81%8D%E3%81%AE%E3%81%93.jpg?%E5%A4%A7=1"),
        (b"/a photo of one.jpg", "/a%20photo%20of%20one.jpg"),
        (b"  /here.jpg \t", "/here.jpg"),
        (b"/a\tb.jpg", "/ab.jpg"),
        (b"/a?x=y z", "/a?x=y%20z"),
        (b"/already%20written%C3%BC.jpg", "/already%20written%C3%BC.jpg"),
        (b"/100%.jpg", "/100%.jpg"),
        (b"\\photos\\one.jpg?a\\b", "/photos/one.jpg?a%5Cb"),
        (b"there.jpg#part \xc3\xbc", "/there.jpg"),
        (b"?size=large", "/photo?size=large"),
    ],
)
def test_a_redirect_is_followed_as_browsers_do(location: bytes, asked: str, serve_script: Serve) -> None:
    def script(path: str, connection: socket.socket) -> None:
        if path == "/photo":
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")
        else:
            found(path.encode())(path, connection)

    assert fetch(serve_script(script)) == asked.encode()


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("/gone.jpg", TargetMissingError),
        ("http://127.0.0.1:1/secret", TargetRefusedError),
        ("http://[", TargetRefusedError),
        ("ftp://images.example/", TargetRefusedError),
        ("http://a b.example/", FetchError),
        ("http://images..example/", TargetRefusedError),
    ],
)
def test_what_fails_behind_a_redirect_is_said_of_the_url_that_the_user_sent(
    location: str, error: type[FetchError], serve_script: Serve
) -> None:
    def script(path: str, connection: socket.socket) -> None:
        (redirect_to(location) if path == "/photo" else answer("404 No", "Content-Length: 0"))(path, connection)

    port = serve_script(script)
    with pytest.raises(error, match=rf"^http://127\.0\.0\.1:{port}/photo redirects to another URL, which fails\. "):
        fetch(port)


@pytest.mark.parametrize("status", [300, 304, 305, 306])
def test_what_only_looks_like_a_redirect_is_not_followed(status: int, serve_script: Serve) -> None:
    with pytest.raises(TargetFailedError, match=f"got {status}"):
        fetch(serve_script(answer(f"{status} Other", "Location: /there", "Content-Length: 0")))


@pytest.mark.parametrize("limits", [ANSWERING, INGESTION])
def test_an_image_may_have_as_many_bytes_as_allowed_and_not_one_more(limits: Limits, serve_script: Serve) -> None:
    def fetch_of(byte_count: int) -> bytes:
        port = serve_script(found(bytes(byte_count)))
        return fetch_image(f"http://127.0.0.1:{port}/photo", f"127.0.0.1:{port}", Deadline(SECONDS), limits)

    assert len(fetch_of(limits.bytes)) == limits.bytes
    with pytest.raises(TargetTooLargeError, match=f"at most {limits.bytes:,} bytes"):
        fetch_of(limits.bytes + 1)


def test_a_file_is_fetched_whole_however_large_it_is(serve_script: Serve, tmp_path: Path) -> None:
    content = bytes(range(256)) * (ANSWERING.bytes // 128)
    port = serve_script(found(content))
    fetch_file(f"http://127.0.0.1:{port}/data", tmp_path / "data", f"127.0.0.1:{port}", Deadline(SECONDS))
    assert (tmp_path / "data").read_bytes() == content


def test_a_url_gets_five_seconds_in_all_however_much_time_the_request_has(
    serve_script: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("ml.deadlines.time", SimpleNamespace(monotonic=lambda: now[0]))

    def redirect_after(seconds: float) -> Script:
        def script(path: str, connection: socket.socket) -> None:
            if path == "/there":
                found(b"here")(path, connection)
            else:
                now[0] += seconds
                redirect_to("/there")(path, connection)

        return script

    assert fetch(serve_script(redirect_after(4.5))) == b"here"
    with pytest.raises(TargetTooSlowError):
        fetch(serve_script(redirect_after(5.0)))


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (answer("404 Not Found", "Content-Length: 0"), TargetMissingError),
        (answer("410 Gone", "Content-Length: 0"), TargetMissingError),
        (answer("403 Forbidden", "Content-Length: 0"), TargetFailedError),
        (answer("500 Oops", "Content-Length: 0"), TargetFailedError),
        (answer("101 Switching Protocols", "Connection: Upgrade", "Upgrade: other"), TargetFailedError),
        (answer("206 Partial Content", "Content-Length: 2", body=b"ab"), TargetFailedError),
        (answer("302 Found", "Content-Length: 0"), TargetFailedError),
        (redirect_to("/again"), TargetFailedError),
        (redirect_to("http://127.0.0.1:1/"), TargetRefusedError),
        (redirect_to("http://localhost/"), TargetRefusedError),
        (redirect_to("http://[::ffff:7f00:1]/"), TargetRefusedError),
        (redirect_to("file:///etc/passwd"), TargetRefusedError),
        (redirect_to("http://["), TargetRefusedError),
        (redirect_to("http://user:password@127.0.0.1/"), TargetRefusedError),
        (answer("200 OK", "Content-Length: 10", body=b"less"), TargetFailedError),
        (lambda _, connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"), TargetFailedError),
        (lambda _, connection: connection.close(), TargetFailedError),
        (answer("200 OK", "Content-Length: 999999999", body=b"\xff" * 5_000_000), TargetTooLargeError),
        (drip(b"HTTP/1.1 200 OK\r\n\r\n", b"\xff" * 100_000, 0), TargetTooLargeError),
        (answer("200 OK", "Content-Encoding: gzip", body=gzip.compress(bytes(50_000_000))), TargetFailedError),
        (answer("200 OK", "Content-Encoding: zstd", "Content-Length: 2", body=b"ab"), TargetFailedError),
        (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"\xff"), TargetTooSlowError),
        (drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), TargetTooSlowError),
        (drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), TargetTooSlowError),
        (drip(b"HTTP/1.1 200 OK\r\n", b"X: " + b"y" * 10_000 + b"\r\n", 0), TargetFailedError),
        (lambda _, __: time.sleep(300), TargetTooSlowError),
    ],
)
def test_a_server_that_misbehaves_is_given_up_in_time(
    script: Script, error: type[FetchError], serve_script: Serve
) -> None:
    port = serve_script(script)
    began = time.monotonic()
    with pytest.raises(error):
        fetch(port, seconds=FEW_SECONDS if error is TargetTooSlowError else SECONDS)
    assert time.monotonic() - began < SECONDS


def test_nobody_listening_is_told(serve_script: Serve) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(TargetFailedError):
            fetch(unused.getsockname()[1])


class Resolver:
    """Stands for the DNS: gives a name each of some addresses in turn, and the last one from then on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
        self.questions: list[str] = []
        self._addresses = list(addresses)
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if not host.endswith(".example"):
            return self._real(host, port, *args, **kwargs)
        self.questions.append(host)
        address = self._addresses.pop(0) if len(self._addresses) > 1 else self._addresses[0]
        return self._real(address, port, type=socket.SOCK_STREAM)


def test_a_name_that_means_the_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("127.0.0.1", "::1", "10.1.2.3", "169.254.169.254"):
        Resolver(monkeypatch, address)
        with pytest.raises(TargetRefusedError):
            fetch_image("http://images.example/", "", Deadline(SECONDS))


def test_a_name_that_changes_its_meaning_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch, "93.184.215.14", "127.0.0.1")
    connected = []

    def refuse(address: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(TargetFailedError):
        fetch_image("http://images.example/", "", Deadline(SECONDS))
    assert resolver.questions == ["images.example"]
    assert connected == [("93.184.215.14", 80)]


def test_a_resolver_that_does_not_answer_costs_no_more_than_the_time_given(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def wait(*_: Any, **__: Any) -> list[Any]:
        answer.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    with pytest.raises(TargetTooSlowError):
        fetch_image("http://images.example/", "", Deadline(0.2))
    waiting = [thread for thread in threading.enumerate() if thread.name == "resolver"]
    assert waiting and all(thread.daemon for thread in waiting)  # the process may end meanwhile
    answer.set()


def test_no_proxy_is_taken_from_the_environment(serve_script: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve_script(found(b"from the proxy"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
    assert fetch(serve_script(found(b"from the server"))) == b"from the server"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for images.example, which issued itself, and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "images.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(hours=1)
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("images.example")]), critical=False)
    encoding = serialization.Encoding.PEM
    key_bytes = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(encoding) + key_bytes)
    return path


def test_a_certificate_must_be_trusted_and_the_hosts_own(
    serve_script: Callable[..., int], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    asked: list[str | None] = []
    context.sni_callback = lambda _, name, __: asked.append(name)
    port = serve_script(found(b"an image"), tls=context)
    Resolver(monkeypatch, "127.0.0.1")
    monkeypatch.setattr("certifi.where", lambda: str(certificate))  # the machine says whom to trust, no package does

    def fetch_from(host: str) -> bytes:
        return fetch_image(f"https://{host}:{port}/", f"{host}:{port}", Deadline(SECONDS))

    with pytest.raises(TargetFailedError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_from("images.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch_from("images.example") == b"an image"
    with pytest.raises(TargetFailedError, match="Hostname mismatch"):
        fetch_from("other.example")
    assert asked == ["images.example", "images.example", "other.example"]


def test_a_handshake_that_never_ends_is_given_up(serve_script: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TargetTooSlowError):
            fetch_image(f"https://127.0.0.1:{port}/", f"127.0.0.1:{port}", Deadline(0.3))
