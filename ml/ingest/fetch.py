"""Fetch URLs for users who may be hostile, without giving them access to our own network.

The host is resolved once per request. Its addresses are checked, and only checked addresses are connected to. Each
redirect is checked in the same way. One deadline covers resolving, connecting, headers, redirects and body.

Source: OWASP, Server-Side Request Forgery Prevention Cheat Sheet.
"""

import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin

import httpcore

from ml.deadlines import Deadline
from ml.errors import (
    FetchError,
    TargetFailedError,
    TargetMissingError,
    TargetRefusedError,
    TargetTooLargeError,
    TargetTooSlowError,
)
from ml.ingest.addresses import demand_global, resolve
from ml.ingest.pictures.picture_limits import ANSWERING, MEGABYTE, Limits
from ml.ingest.targets import Target, read_location, read_target

FETCH_SECONDS = 5.0
MAX_REDIRECTS = 3

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MISSING = frozenset({404, 410})
_NOT_MODIFIED = 304
_SHOWN = 200  # characters of a URL in a message

Result = TypeVar("Result")
_Headers = Mapping[bytes, bytes]  # names in lower case
_BodyReader = Callable[[_Headers, Iterable[bytes]], Result]


@dataclass(frozen=True)
class Validators:
    """What a server said of a file's version. It tells whether the file changed since."""

    etag: str | None = None
    last_modified: str | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers that ask for the file only if it changed."""
        found = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return [(name, value) for name, value in found.items() if value]


NO_VALIDATORS = Validators()


@dataclass(frozen=True)
class _Moved:
    """A redirect. Args: location, a URL or a part of one."""

    location: str


def fetch_image(url: str, allowed_hosts: str, deadline: Deadline, limits: Limits = ANSWERING) -> bytes:
    """Fetch the content of a URL. `ml.ingest.validation` checks later whether it is an image.

    Args:
        url: http or https; as a person gave it.
        allowed_hosts: `host` or `host:port`, separated by commas: hosts that may have any address. A port other than
            80 and 443 must be named with its host, because something other than a web server may listen there.
        deadline: the fetch ends at the deadline, or after FETCH_SECONDS if that is sooner.
        limits: how large the content may be.
    Raises:
        TargetRefusedError: it is no such URL, or the host is outside the public internet.
        TargetMissingError: the host answers that there is nothing at this URL.
        TargetTooLargeError: the content is larger than the limits allow.
        TargetTooSlowError: the content did not arrive in time.
        TargetFailedError: the host does not exist, does not answer correctly, or redirects too often.
    """
    return _fetch(url, allowed_hosts, deadline.sooner(FETCH_SECONDS), partial(_read_body, limits)) or b""


def fetch_file(
    url: str, path: Path, allowed_hosts: str, deadline: Deadline, known: Validators = NO_VALIDATORS
) -> Validators | None:
    """Fetch the content of a URL into a file, of any size. A failure may leave an incomplete file.

    Args: as fetch_image, but only `deadline` limits the time; path, of the file to write; known, of the version that is
        there already.
    Returns: the validators of the version; None if it is the known one, and then nothing is written.
    Raises: as fetch_image, except TargetTooLargeError; OSError, the disk is full.
    """

    def write(headers: _Headers, chunks: Iterable[bytes]) -> Validators:
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        # A request can repeat only ASCII.
        found = (headers.get(name, b"") for name in (b"etag", b"last-modified"))
        return Validators(*(value.decode() if value and value.isascii() else None for value in found))

    return _fetch(url, allowed_hosts, deadline, write, known)


def _fetch(
    url: str,
    allowed_hosts: str,
    deadline: Deadline,
    read_body: _BodyReader[Result],
    known: Validators = NO_VALIDATORS,
) -> Result | None:
    current, is_redirected = url, False
    for _ in range(MAX_REDIRECTS + 1):
        try:
            found = _get(read_target(current, allowed_hosts), deadline, read_body, known)
            if not isinstance(found, _Moved):
                return found
            is_redirected = True
            current = _join(current, found.location)
        except FetchError as error:
            if not is_redirected:
                raise
            # The other URL is not the user's: only the server that redirects knows what it means.
            raise type(error)(f"{url[:_SHOWN]} redirects to another URL, which fails. {error}") from error
    raise TargetFailedError(f"Expected at most {MAX_REDIRECTS} redirects from {url[:_SHOWN]}, got more.")


def _get(
    target: Target, deadline: Deadline, read_body: _BodyReader[Result], known: Validators
) -> Result | _Moved | None:
    """Return the content, the redirect, or None if the known version is still the current one."""
    addresses = resolve(target.host, target.port, deadline)
    if not target.is_allowed:
        demand_global(addresses)
    try:
        with closing(_connection(target, addresses, deadline)) as connection:
            url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
            with connection.stream("GET", url, headers=[*_headers(target), *known.headers()]) as response:
                return _read(response, read_body, known)
    except httpcore.TimeoutException as error:
        raise _too_slow() from error
    except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
        raise TargetFailedError(f"Expected {target.host} to answer in HTTP, got: {error}.") from error


def _connection(target: Target, addresses: list[str], deadline: Deadline) -> httpcore.HTTPConnection:
    origin = httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port)
    tls = ssl.create_default_context() if target.scheme == "https" else None  # checks the certificate for this host
    return httpcore.HTTPConnection(origin, tls, network_backend=_PinnedBackend(addresses, deadline))


def _headers(target: Target) -> list[tuple[str, str]]:
    return [
        ("Host", target.authority),
        ("User-Agent", "Mycoflow"),
        ("Accept", "image/*, */*;q=0.5"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]


def _read(response: httpcore.Response, read_body: _BodyReader[Result], known: Validators) -> Result | _Moved | None:
    headers = {name.lower(): value for name, value in response.headers}
    if response.status in _REDIRECTS and b"location" in headers:
        return _Moved(read_location(headers[b"location"]))
    if response.status == _NOT_MODIFIED and known.headers():
        return None
    if response.status in _MISSING:
        raise TargetMissingError(f"Expected something at this URL, got status {response.status}. Check the URL.")
    if response.status != 200:
        raise TargetFailedError(f"Expected status 200 from this URL, got {response.status}.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        # Decompressed, it could be a thousand times as large. Images are compressed already.
        raise TargetFailedError("Expected no content encoding, got one that was not requested.")
    return read_body(headers, response.iter_stream())


def _read_body(limits: Limits, _headers: _Headers, chunks: Iterable[bytes]) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > limits.bytes:
            most = f"{limits.bytes:,} bytes ({limits.bytes // MEGABYTE} MB)"
            raise TargetTooLargeError(f"Expected at most {most} at this URL, got more. Use the URL of a smaller copy.")
    return bytes(content)


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise TargetRefusedError(f"Expected a redirect to a URL, got: {error}.") from error


def _too_slow() -> TargetTooSlowError:
    return TargetTooSlowError("Expected the whole file in time, got less. Try again, or upload the image.")


class _PinnedBackend(httpcore.NetworkBackend):
    """Connect only to the checked addresses, even if the host name resolves to others by now."""

    def __init__(self, addresses: list[str], deadline: Deadline) -> None:
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers."""
        failure = httpcore.ConnectError("no address")
        for address in self._addresses:
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, _time_left(self._deadline))
            except httpcore.ConnectError as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """Limit each step to the time left until the deadline, so that a host cannot delay by sending slowly."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _time_left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _time_left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _time_left(self._deadline))
        return _TimedStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _time_left(deadline: Deadline) -> float:
    left = deadline.remaining()
    if not left:  # a timeout of 0 would mean non-blocking, and raise another error
        raise _too_slow()
    return left
