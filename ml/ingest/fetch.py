"""Fetch URLs for users who may be hostile, without giving them access to our own network.

The host is resolved once per request. Its addresses are checked, and only checked addresses are connected to. Each
redirect is checked in the same way. One deadline covers resolving, connecting, headers, redirects and body.

Source: OWASP, Server-Side Request Forgery Prevention Cheat Sheet.
"""

import ssl
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import httpcore

from ml.deadlines import Deadline
from ml.errors import (
    TargetFailedError,
    TargetMissingError,
    TargetRefusedError,
    TargetTooLargeError,
    TargetTooSlowError,
)
from ml.ingest.addresses import demand_global, resolve
from ml.ingest.pictures.picture_limits import ANSWERING, MEGABYTE, Limits
from ml.ingest.targets import Target, read_target

FETCH_SECONDS = 5.0
MAX_REDIRECTS = 3

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MISSING = frozenset({404, 410})

_BodyReader = Callable[[Iterable[bytes]], bytes]  # consumes a body; returns the bytes to keep in memory


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
    return _fetch(url, allowed_hosts, deadline.sooner(FETCH_SECONDS), partial(_read_body, limits))


def fetch_file(url: str, path: Path, allowed_hosts: str, deadline: Deadline) -> None:
    """Fetch the content of a URL into a file, of any size. A failure may leave an incomplete file.

    Args: as fetch_image, but only `deadline` limits the time; path, of the file to write.
    Raises: as fetch_image, except TargetTooLargeError; OSError, the disk is full.
    """

    def write(chunks: Iterable[bytes]) -> bytes:
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        return b""

    _fetch(url, allowed_hosts, deadline, write)


def _fetch(url: str, allowed_hosts: str, deadline: Deadline, read_body: _BodyReader) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        found = _get(read_target(url, allowed_hosts), deadline, read_body)
        if isinstance(found, bytes):
            return found
        url = _join(url, found)
    raise TargetFailedError(f"Expected at most {MAX_REDIRECTS} redirects, got more. Use the final URL.")


def _get(target: Target, deadline: Deadline, read_body: _BodyReader) -> bytes | str:
    """Return the content, or the URL that the target redirects to."""
    addresses = resolve(target.host, target.port, deadline)
    if not target.is_allowed:
        demand_global(addresses)
    try:
        with closing(_connection(target, addresses, deadline)) as connection:
            url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
            with connection.stream("GET", url, headers=_headers(target)) as response:
                return _read(response, read_body)
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


def _read(response: httpcore.Response, read_body: _BodyReader) -> bytes | str:
    headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
    if response.status in _REDIRECTS and b"location" in headers:
        return headers[b"location"]
    if response.status in _MISSING:
        raise TargetMissingError(f"Expected something at this URL, got status {response.status}. Check the URL.")
    if response.status != 200:
        raise TargetFailedError(f"Expected status 200 from this URL, got {response.status}.")
    if headers.get(b"content-encoding", "identity").lower() != "identity":
        # Decompressed, it could be a thousand times as large. Images are compressed already.
        raise TargetFailedError("Expected no content encoding, got one that was not requested.")
    return read_body(response.iter_stream())


def _read_body(limits: Limits, chunks: Iterable[bytes]) -> bytes:
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
