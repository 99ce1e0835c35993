"""Parse the URL of an image, and refuse URLs that must not be fetched, without asking any host."""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from ml.errors import TargetRefusedError

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_BLANKS = "".join(map(chr, range(0x21)))
_ASCII = "".join(map(chr, range(0x80)))
_KEPT = "/?%:@!$&'()*+,;=~[]-._"  # characters with a meaning in a path or query, and % of escaped ones


@dataclass(frozen=True)
class Target:
    """The place to fetch an image from.

    Args:
        scheme: http or https.
        host: name or address, in ASCII.
        port: explicit or the scheme's.
        path: with the query, escaped.
        is_allowed: whether the deployment allows this host to have any address.
    """

    scheme: str
    host: str
    port: int
    path: str
    is_allowed: bool

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def read_target(url: str, allowed_hosts: str) -> Target:
    """Parse a URL.

    Args: allowed_hosts, `host` or `host:port`, separated by commas: hosts that may have any address.
    Raises: TargetRefusedError.
    """
    if _UNPRINTABLE.search(url):
        raise TargetRefusedError("Expected a URL without spaces and control characters. Escape them as %20 and so on.")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:  # UnicodeError is a ValueError
        raise TargetRefusedError(f"Expected a URL with a host and a port that exist, got: {error}.") from error
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise TargetRefusedError("Expected a URL that begins with http:// or https:// and a host.")
    if "@" in parts.netloc:
        raise TargetRefusedError("Expected a URL without user name and password, got one with them.")
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    is_allowed = _is_named(host, port, allowed_hosts)
    if port not in _DEFAULT_PORTS.values() and not is_allowed:
        raise TargetRefusedError(f"Expected port 80 or 443, got {port}. Upload the image instead.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, quote(path, safe=_KEPT), is_allowed)


def read_location(header: bytes) -> str:
    """Read the Location header of a redirect as browsers do: with raw UTF-8, other bytes, blanks and backslashes.

    Returns: a URL or a part of one, without blanks and control characters.
    Source: the URL Standard (url.spec.whatwg.org), basic URL parser.
    """
    try:
        text = header.decode()
    except UnicodeDecodeError:
        text = quote(header, safe=_ASCII)
    text = re.sub(r"[\t\r\n]", "", text.strip(_BLANKS))
    place = re.match(r"[^?#]*", text)[0]  # type: ignore[index]  # it matches any text
    return _UNPRINTABLE.sub(lambda found: quote(found[0]), place.replace("\\", "/") + text[len(place) :])


def _is_named(host: str, port: int, allowed_hosts: str) -> bool:
    names = {name.strip().lower() for name in allowed_hosts.split(",")}
    bracketed = f"[{host}]" if ":" in host else host
    return f"{bracketed}:{port}" in names or (bracketed in names and port in _DEFAULT_PORTS.values())
