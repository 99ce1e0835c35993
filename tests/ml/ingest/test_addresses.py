"""Which addresses may be asked, bare and inside another one."""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import pytest

from ml.deadlines import Deadline
from ml.errors import TargetRefusedError, UnknownHostError
from ml.ingest.addresses import demand_global, is_global, resolve

SECONDS = 60.0
INSIDE = {
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "private": "10.1.2.3",
    "private, 172": "172.16.0.1",
    "private, 192": "192.168.1.1",
    "shared by a provider": "100.64.0.1",
    "loopback": "127.0.0.1",
    "loopback, the last": "127.255.255.254",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "metadata, Alibaba": "100.100.100.200",
    "metadata, Oracle": "192.0.0.192",
    "metadata, Azure": "168.63.129.16",
    "router's port control": "192.0.0.9",
    "AS112": "192.175.48.6",
    "AS112, the newer": "192.31.196.1",
    "AMT": "192.52.193.1",
    "6to4 relay": "192.88.99.1",
    "documentation": "192.0.2.1",
    "benchmarks": "198.18.0.1",
    "multicast": "224.0.1.1",
    "multicast, of a site": "239.255.255.250",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
}
PUBLIC = ["8.8.8.8", "93.184.215.14", "1.1.1.1", "223.255.255.254", "192.0.1.1", "168.63.129.17"]


def wrapped(prefix: str, shift: int = 0) -> Callable[[str], str]:
    """Puts an IPv4 address into an IPv6 one, so many bits from its end."""
    start = int(ipaddress.IPv6Address(prefix))
    return lambda text: str(ipaddress.IPv6Address(start | int(ipaddress.IPv4Address(text)) << shift))


WRAPPINGS: dict[str, Callable[[str], str]] = {
    "bare": str,
    "mapped": wrapped("::ffff:0:0"),
    "NAT64": wrapped("64:ff9b::"),
    "6to4": wrapped("2002::", 80),
    "6to4, with a host": wrapped("2002::1:2", 80),
}
REFUSED_WRAPPINGS = {
    "compatible": wrapped("::"),
    "translated": wrapped("::ffff:0:0:0"),
    "NAT64 of a site": wrapped("64:ff9b:1::"),
    "Teredo": wrapped("2001::", 64),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("kind", INSIDE)
def test_no_address_of_the_inside_may_be_asked_whatever_it_is_wrapped_in(kind: str, wrapping: str) -> None:
    address = WRAPPINGS[wrapping](INSIDE[kind])
    assert not is_global(address)
    with pytest.raises(TargetRefusedError, match="public internet"):
        demand_global([PUBLIC[0], address])


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_may_be_asked_also_through_a_translator(address: str, wrapping: str) -> None:
    assert is_global(WRAPPINGS[wrapping](address))
    demand_global([WRAPPINGS[wrapping](address), address])


@pytest.mark.parametrize("wrapping", REFUSED_WRAPPINGS)
def test_wrappings_that_no_public_host_has_are_refused_whatever_they_carry(wrapping: str) -> None:
    for address in (PUBLIC[0], INSIDE["loopback"], INSIDE["metadata"]):
        assert not is_global(REFUSED_WRAPPINGS[wrapping](address))


@pytest.mark.parametrize(
    ("address", "may"),
    [
        ("2606:4700:4700::1111", True),
        ("2a00:1450:4001:81b::200e", True),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),  # the metadata of a cloud
        ("ff02::1", False),
        ("ff0e::1", False),
        ("100::1", False),
        ("2001:db8::1", False),
        ("4000::1", False),
        ("3fff::1", False),
        ("3fff:fff:ffff::1", False),
        ("3ffe::1", True),
        ("2001:1::1", False),
        ("2001:3::1", False),
        ("2001:20::1", False),
        ("2001:30::1", False),
        ("2001:200::1", True),
        ("2620:4f:8000::1", False),
        ("5f00::1", False),
        ("100:0:0:1::1", False),
    ],
)
def test_of_ipv6_what_is_given_out_as_unicast_may_be_asked(address: str, may: bool) -> None:
    assert is_global(address) is may


def test_a_name_that_does_not_exist_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(UnknownHostError, match="a host that exists"):
        resolve("images.example", 80, Deadline(SECONDS))


def test_a_name_that_cannot_be_one_is_told() -> None:
    with pytest.raises(UnknownHostError, match="a host that exists"):
        resolve("a" * 64 + ".example", 80, Deadline(SECONDS))


@pytest.mark.parametrize("text", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
def test_numbers_in_any_notation_come_out_as_addresses(text: str) -> None:
    assert resolve(text, 80, Deadline(SECONDS)) == ["127.0.0.1"]
