"""Scripts of other sites: none may use the API but those of the listed ones, and none the pages."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.errors import SettingsError
from ml.settings import Settings, load_settings
from tests.application import application_as_web

SITE = "https://mushrooms.example"
ALLOW = "Access-Control-Allow-Origin"
ASK = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}


@pytest.fixture
def listing(settings: Settings) -> Iterator[Flask]:
    update = {"cors_origins": f"https://other.example:8443 , {SITE}"}
    with application_as_web(settings.model_copy(update=update)) as app:
        yield app


def test_by_default_no_other_site_is_told_anything(client: FlaskClient, user: FlaskClient) -> None:
    for answer in (
        client.options("/predictions", headers={"Origin": SITE, **ASK}),
        user.get("/user", headers={"Origin": SITE}),
    ):
        assert [name for name, _value in answer.headers if name.startswith("Access-Control")] == []


def test_a_listed_site_uses_the_api_with_a_token(listing: Flask, log_in: Callable[..., FlaskClient]) -> None:
    preflight = listing.test_client().options("/predictions", headers={"Origin": SITE, **ASK})
    assert preflight.status_code == 200
    assert preflight.headers[ALLOW] == SITE
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    asking = log_in("user", "alice", listing)
    cross = {"Origin": SITE, "Sec-Fetch-Site": "cross-site"}
    answer = asking.get("/user", headers=cross)
    assert (answer.status_code, answer.headers[ALLOW]) == (200, SITE)
    assert "Prediction-Id" in answer.headers["Access-Control-Expose-Headers"]
    refused = listing.test_client().get("/user", headers=cross)
    assert (refused.status_code, refused.headers[ALLOW]) == (401, SITE)  # the script can read why
    basic = listing.test_client().get("/user", headers=cross, auth=("alice", "correct horse battery"))
    assert basic.status_code == 403


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://mushrooms.example.evil.example",
        "https://evilmushrooms.example",
        "http://mushrooms.example",
        "https://mushrooms.example:444",
        "https://mushroomsxexample",
        "null",
    ],
)
def test_another_site_is_not_taken_for_a_listed_one(listing: Flask, origin: str) -> None:
    client = listing.test_client()
    assert ALLOW not in client.options("/predictions", headers={"Origin": origin, **ASK}).headers
    assert ALLOW not in client.get("/status", headers={"Origin": origin}).headers


@pytest.mark.parametrize("path", ["/", "/login", "/photos", "/account/data", "/review"])
def test_no_other_site_reads_a_page(listing: Flask, path: str) -> None:
    client = listing.test_client()
    assert ALLOW not in client.get(path, headers={"Origin": SITE}).headers
    assert ALLOW not in client.options(path, headers={"Origin": SITE, **ASK}).headers


def test_a_preflight_reads_nothing(client: FlaskClient) -> None:
    answer = client.options("/user/data", headers={"Origin": SITE, **ASK})
    assert (answer.status_code, answer.data) == (200, b"")
    assert client.options("/user/data").status_code == 401


@pytest.mark.parametrize("wrong", ["*", "mushrooms.example", "https://mushrooms.example/", "https://*.example", "null"])
def test_what_is_no_origin_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("MYCOFLOW_CORS_ORIGINS", wrong)
    with pytest.raises(SettingsError, match="MYCOFLOW_CORS_ORIGINS"):
        load_settings()
