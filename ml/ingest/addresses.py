"""Resolve host names, and allow only addresses of the public internet."""

import ipaddress
import queue
import socket
import threading

from ml.deadlines import Deadline
from ml.errors import TargetRefusedError, TargetTooSlowError, UnknownHostError

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Networks that Python calls global, or did before a release of 2024. None of them has a public web server.
_SPECIAL_4 = [
    ipaddress.IPv4Network(text)
    for text in (
        "168.63.129.16/32",  # Azure's platform, seen from its machines
        "192.0.0.0/24",  # IETF protocols: routers, and the metadata of clouds
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.175.48.0/24",  # AS112
    )
]
_SPECIAL_6 = [
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocols: Teredo, ORCHID and others
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # the IANA assigns only from here; others are special

_Answer = list[str] | OSError | UnicodeError
# One sentence for both errors, or it would tell which host names our own network has.
_REFUSED = (
    "Expected a host that exists in the public internet, got another: unknown, or with a private, local or reserved "
    "address. Check its name, or upload the image instead."
)


def resolve(host: str, port: int, deadline: Deadline) -> list[str]:
    """Resolve a host name, once. A number in any notation (decimal, octal, hexadecimal) becomes an address too.

    Returns: IP addresses, in the order to try them.
    Raises: TargetTooSlowError; UnknownHostError.
    """
    answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
    # The resolver has no time limit: it runs in a thread of its own, and this thread waits only until the deadline.
    threading.Thread(target=lambda: answers.put(_look_up(host, port)), name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining())
    except queue.Empty as error:
        raise TargetTooSlowError(f"Expected {host} to be resolved in time. Try again, or upload the image.") from error
    if isinstance(answer, Exception):
        raise UnknownHostError(_REFUSED) from answer
    return answer


def demand_global(addresses: list[str]) -> None:
    """Refuse a host if any of its addresses is outside the public internet.

    Raises: TargetRefusedError.
    """
    if not all(map(is_global, addresses)):
        raise TargetRefusedError(_REFUSED)


def is_global(text: str) -> bool:
    """Whether an address is unicast and globally routable. If it contains an IPv4 address, that one is checked.

    Source: the IANA's special-purpose address registries; RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4291 (mapped).
    """
    address = _unwrapped(ipaddress.ip_address(text))
    is_unicast = not (address.is_multicast or address.is_reserved)
    if isinstance(address, ipaddress.IPv4Address):
        is_special = any(address in network for network in _SPECIAL_4)
    else:
        is_special = address not in _GLOBAL_UNICAST or any(address in network for network in _SPECIAL_6)
    return address.is_global and is_unicast and not is_special


def _look_up(host: str, port: int) -> _Answer:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return error
    return [str(address[0]).partition("%")[0] for *_, address in found]


def _unwrapped(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
