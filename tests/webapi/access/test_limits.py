"""How often one may ask, and what happens when the counter is down."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from shutil import which

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from ml.errors import SettingsError
from ml.settings import Settings, load_settings
from webapi.access import limits
from webapi.access.session_cookie import SESSION_COOKIE
from webapi.factory import create_app
from webapi.problems import ProblemError

LogIn = Callable[..., FlaskClient]


@pytest.fixture
def limited(settings: Settings) -> Callable[..., Settings]:
    """Settings with three requests per minute."""
    return lambda **values: settings.model_copy(update={"rate_limit": "3 per minute", **values})


@pytest.fixture
def redis(free_port: Callable[[], int]) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A real Redis: its address and its process."""
    program = which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine (Debian: apt-get install redis-server)")
    port = free_port()
    process = subprocess.Popen([program, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    wait_until_listening(port, process)
    yield f"redis://127.0.0.1:{port}/0", process
    process.kill()
    process.wait()


def wait_until_listening(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise AssertionError("Redis ended by itself.")


def statuses(client: FlaskClient, count: int) -> list[int]:
    return [client.get("/user").status_code for _ in range(count)]


def test_an_account_that_asks_too_often_waits(limited: Callable[..., Settings], log_in: LogIn) -> None:
    app = create_app(limited())
    alice, bob = log_in("user", application=app), log_in("user", application=app)
    assert statuses(alice, 4) == [200, 200, 200, 429]
    refused = alice.get("/user")
    assert refused.mimetype == "application/problem+json"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert alice.get("/user/data").status_code == 429  # all routes together
    assert statuses(bob, 3) == [200] * 3


def test_refused_requests_count_for_the_address(limited: Callable[..., Settings]) -> None:
    client = create_app(limited()).test_client()
    assert statuses(client, 4) == [401, 401, 401, 429]
    assert client.get("/user", environ_base={"REMOTE_ADDR": "203.0.113.9"}).status_code == 401


def test_what_asks_whether_the_service_lives_is_never_refused(limited: Callable[..., Settings]) -> None:
    client = create_app(limited()).test_client()
    for path in ("/status", "/healthz"):
        assert {client.get(path).status_code for _ in range(10)} == {200}
    assert [client.get("/dbconnex").status_code for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize("path", ["/photos/{}/thumbnail", "/known/{}/thumbnail"])
def test_thumbnails_count_only_without_an_account(limited: Callable[..., Settings], log_in: LogIn, path: str) -> None:
    app = create_app(limited())
    alice = log_in("user", application=app)
    alice.set_cookie(SESSION_COOKIE, alice.environ_base.pop("HTTP_AUTHORIZATION").removeprefix("Bearer "))
    assert [alice.get(path.format("0" * 64)).status_code for _ in range(10)] == [404] * 10
    assert alice.get("/photos").status_code == 200
    for _ in range(4):
        refused = app.test_client().get(path.format("0" * 64))
    assert refused.status_code == 429


def test_neighbours_in_one_ipv6_network_are_one(limited: Callable[..., Settings]) -> None:
    client = create_app(limited()).test_client()
    addresses = [
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8::ffff:0:0:1",
        "2001:db8::3",
        "2001:db8:0:1::1",
        "::ffff:192.0.2.1",
    ]
    found = [client.get("/user", environ_base={"REMOTE_ADDR": address}).status_code for address in addresses]
    assert found == [401, 401, 401, 429, 401, 401]


@pytest.mark.parametrize("address", ["", "unix:", "@client"])
def test_who_comes_from_nowhere_is_one_too(limited: Callable[..., Settings], address: str) -> None:
    client = create_app(limited()).test_client()
    client.environ_base["REMOTE_ADDR"] = address
    assert statuses(client, 4) == [401, 401, 401, 429]


@pytest.mark.parametrize(("proxies", "last"), [(0, 429), (1, 401)])
def test_a_forwarded_address_counts_only_behind_a_trusted_proxy(
    limited: Callable[..., Settings], proxies: int, last: int
) -> None:
    client = create_app(limited(trusted_proxies=proxies)).test_client()
    found = [
        client.get("/user", headers={"X-Forwarded-For": f"198.51.100.7, 203.0.113.{number}"}).status_code
        for number in range(4)
    ]
    assert found == [401, 401, 401, last]


def test_a_redis_that_is_down_does_not_take_the_service_down(
    limited: Callable[..., Settings], log_in: LogIn, free_port: Callable[[], int]
) -> None:
    app = create_app(limited(rate_limit_storage=SecretStr(f"redis://127.0.0.1:{free_port()}/0")))
    assert statuses(log_in("user", application=app), 4) == [200, 200, 200, 429]
    assert app.test_client().post("/auth/login", json={"login": "a", "password": "b"}).status_code == 401


def test_passwords_are_counted_here_where_redis_goes_down_on_the_way(
    limited: Callable[..., Settings], free_port: Callable[[], int]
) -> None:
    down = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    app = Flask("counts")
    throttle = limits.init_app(app, limited(rate_limit_storage=down, login_rate_limit="2 per minute"))
    with app.test_request_context(environ_base={"REMOTE_ADDR": "203.0.113.9"}):
        for _ in range(2):
            throttle.count_login("alice")
        with pytest.raises(ProblemError) as refused:
            throttle.count_login("alice")
        throttle.count_login("bob")
    assert refused.value.status == 429


@pytest.mark.parametrize("accepts", [True, False])
def test_a_redis_that_does_not_answer_holds_the_service_up_for_a_second_a_try(
    limited: Callable[..., Settings], log_in: LogIn, accepts: bool
) -> None:
    with ThreadPoolExecutor(1) as threads, ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=100 if accepts else 0))
        if not accepts:
            fill_queue(silent, stack)
        app = create_app(limited(rate_limit_storage=SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")))
        client = log_in("user", application=app)
        began = time.monotonic()
        assert threads.submit(statuses, client, 4).result(timeout=60) == [200, 200, 200, 429]
        assert time.monotonic() - began < 3.5  # it is tried twice


def fill_queue(server: socket.socket, stack: ExitStack) -> None:
    """Connect until the server's queue is full: who comes then is kept waiting."""
    with suppress(TimeoutError):
        while True:
            stack.enter_context(socket.create_connection(server.getsockname(), timeout=0.2))


def test_replicas_count_together_in_redis_and_alone_without_it(
    limited: Callable[..., Settings], log_in: LogIn, redis: tuple[str, "subprocess.Popen[bytes]"]
) -> None:
    address, process = redis
    settings = limited(rate_limit_storage=SecretStr(address), login_rate_limit="2 per minute")
    one, two = create_app(settings), create_app(settings)
    client = log_in("user", application=one)
    elsewhere = two.test_client()
    elsewhere.environ_base.update(client.environ_base)
    assert statuses(client, 2) + statuses(elsewhere, 2) == [200, 200, 200, 429]
    body = {"login": "nobody", "password": "wrong"}
    assert [app.test_client().post("/auth/login", json=body).status_code for app in (one, two)] == [401, 401]
    process.kill()
    process.wait()
    assert statuses(elsewhere, 1) == [200]


@pytest.mark.parametrize("storage", ["nonsense", "reddis://:hunter2@host", "redis://:hunter2@host:port", "redis://"])
def test_a_storage_that_nobody_knows_is_told_without_its_password(storage: str) -> None:
    with pytest.raises(SettingsError, match="MYCOFLOW_RATE_LIMIT_STORAGE") as caught:
        load_settings(rate_limit_storage=storage)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("rate", ["", "0 per minute", "many", "10 per fortnight", "10/minute; 5/second"])
def test_a_rate_that_is_none_is_refused(rate: str) -> None:
    with pytest.raises(SettingsError, match="MYCOFLOW_RATE_LIMIT"):
        load_settings(rate_limit=rate)
