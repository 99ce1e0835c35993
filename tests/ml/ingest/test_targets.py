import pytest

from ml.errors import TargetRefusedError
from ml.ingest.addresses import is_global
from ml.ingest.targets import read_target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "photo.jpg",
        "/photo.jpg",
        "//images.example/photo.jpg",
        "http:///photo.jpg",
        "http:images.example",
        "file:///etc/passwd",
        "ftp://images.example/photo.jpg",
        "gopher://images.example/",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http://user@images.example/photo.jpg",
        "http://user:password@images.example/photo.jpg",
        "http://:password@images.example/photo.jpg",
        "http://@images.example/photo.jpg",
        "http://images.example\\@127.0.0.1/",
        "http://images.example:22/",
        "http://images.example:0/",
        "http://images.example:65536/",
        "http://images.example:port/",
        "http://[::1/",
        "http://images..example/",
        f"http://{'a' * 64}.example/",
        "http://images.example/a b",
        "http://images.example/a\r\nHost: localhost",
        "http://images.example/\x00",
        " http://images.example/",
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(TargetRefusedError):
        read_target(url, "")


def test_a_url_is_taken_apart() -> None:
    target = read_target("HTTPS://Images.Example/a/ä?x=1&y=%20#part", "")
    assert (target.scheme, target.host, target.port) == ("https", "images.example", 443)
    assert (target.path, target.authority) == ("/a/%C3%A4?x=1&y=%20", "images.example")
    assert not target.is_allowed


def test_a_name_in_another_script_is_asked_for_as_dns_has_it() -> None:
    assert read_target("http://münchen.example", "").host == "xn--mnchen-3ya.example"


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert read_target("http://[2606:4700::1]/", "").authority == "[2606:4700::1]"


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("http://store.internal/a", True),
        ("https://STORE.internal/a", True),
        ("http://127.0.0.1:8123/a", True),
        ("http://[::1]:8123/a", True),
        ("http://127.0.0.1/a", False),
        ("http://other.internal/a", False),
    ],
)
def test_a_deployment_names_its_own_hosts(url: str, is_allowed: bool) -> None:
    assert read_target(url, "store.internal, 127.0.0.1:8123,[::1]:8123").is_allowed is is_allowed


def test_a_port_must_be_named_with_its_host() -> None:
    with pytest.raises(TargetRefusedError, match="8123"):
        read_target("http://store.internal:8123/", "store.internal")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_the_public_internet_is_open(address: str) -> None:
    assert is_global(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1"),
        *("2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "4000::1"),
    ],
)
def test_everything_else_is_closed(address: str) -> None:
    assert not is_global(address)
