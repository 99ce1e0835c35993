"""No address and no form of the pages brings the service down: schemathesis makes up what people would never type."""

import io
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from flask import Flask
from schemathesis.config import SchemathesisConfig

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.database import Catalog
from ml.catalog.reviews.review_queues import QUEUES
from ml.settings import Settings
from tests.scripted_airflow import WAITING, ScriptedAirflow, at_airflow, serve
from tests.webapi.test_contract import play
from webapi.access.session_cookie import SESSION_COOKIE, reads_cookie
from webapi.api.parameter_names import path_of

PASSWORD = "correct horse battery"
UNLIMITED = "1000000 per minute"
TEXT = {"type": "string"}
FIELDS = {
    "/": ["url"],
    "/login": ["login", "password", "next", "kept"],
    "/answers/{prediction_id}": ["verdict", "what", "label", "other_name"],
    "/account/password": ["password", "new_password", "again_password"],
    "/account/erase": ["photos", "password"],
    "/review/{queue}": ["decisions", "shown", "marked"],
    "/review/undo": ["decisions"],
    "/approvals": ["option"],
    "/trainings/retrain": ["selection", "since", "snapshot_size", "seed", "base_backbone", "reason"],
    "/trainings/finetune": ["model_version", "layers", "epochs", "learning_rate"],
    "/trainings/register": ["mlflow_run_id", "image_size", "scale", "classes"],
}
QUERY = ["next", "to", "species", "said", "from", "class", "batch", "cursor", "text", "since", "until", "zone"]
QUERY += ["true", "predicted", "version", "run"]
OFF = [
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
]
NOT_PLAYED = {"/logout", "/static/{digest}/{name}"}  # the one ends the session, the other has files only


@pytest.fixture
def airflow() -> Iterator[ScriptedAirflow]:
    scripted = ScriptedAirflow(pages={WAITING: {"hitl_details": []}})
    server = serve(scripted)
    yield scripted
    server.end()


@pytest.fixture
def settings(settings: Settings, mlflow_uri: str, airflow: ScriptedAirflow) -> Settings:
    update = dict.fromkeys(("rate_limit", "login_rate_limit", "login_rate_limit_per_address"), UNLIMITED)
    return at_airflow(settings.model_copy(update={**update, "mlflow_tracking_uri": mlflow_uri}), airflow)


def describe(app: Flask) -> dict[str, Any]:
    """The pages as an OpenAPI document."""
    paths: dict[str, Any] = {}
    for rule in app.url_map.iter_rules():
        path = path_of(rule.rule)
        if not reads_cookie(app, rule.endpoint) or path in NOT_PLAYED:
            continue
        names = [{"name": name, "in": "path", "required": True, "schema": TEXT} for name in rule.arguments]
        query = [{"name": name, "in": "query", "schema": TEXT} for name in QUERY]
        for method in rule.methods & {"GET", "POST"}:
            operation: dict[str, Any] = {"parameters": names + query, "responses": {"200": {"description": "a page"}}}
            if method == "POST":
                fields = dict.fromkeys(FIELDS.get(path, ["none"]), TEXT)
                form = {"schema": {"type": "object", "properties": fields, "required": list(fields)}}
                operation["requestBody"] = {"content": {"application/x-www-form-urlencoded": form}}
            paths.setdefault(path, {})[method.lower()] = operation
    return {"openapi": "3.0.3", "info": {"title": "pages", "version": "1"}, "paths": paths}


@pytest.mark.heavy
def test_no_page_fails_whatever_is_sent(
    app: Flask,
    catalog: Catalog,
    add_account: Callable[[str, Role], Account],
    serve_version: Callable[[int], None],
    png: Callable[[int], bytes],
) -> None:
    serve_version(1)
    account = add_account("clementine", "admin")
    client = app.test_client()
    token = re.findall(r'name="csrf_token" value="([^"]+)"', client.get("/login").text)[0]
    cookie = client.get_cookie("mycoflow_forms")
    assert cookie is not None
    with catalog.begin() as connection:
        session = issue_token(connection, account.id, timedelta(hours=1)).token
    client.set_cookie(SESSION_COOKIE, session)
    asked = client.post("/", data={"csrf_token": token, "file": (io.BytesIO(png(1)), "photo.png")})
    image = re.findall(r"/photos/([0-9a-f]{64})/thumbnail", client.get("/photos").text)

    def with_session(environ: dict[str, Any], start: Any) -> Any:
        environ["HTTP_COOKIE"] = f"{SESSION_COOKIE}={session}; mycoflow_forms={cookie.value}"
        environ["HTTP_X_CSRFTOKEN"] = token
        return app(environ, start)

    known = {
        "path.prediction_id": [asked.location.rpartition("/")[2]],
        "path.sha256": image,
        "path.queue": list(QUEUES),
        "body.verdict": ["ok", "nok"],
        "body.what": ["known", "other", "none", "unsure"],
    }
    config = {
        "cache": {"enabled": False},
        "generation": {"database": "none", "max-examples": 3, "deterministic": True},
        "checks": {name: {"enabled": False} for name in OFF},
        "dictionaries": {name: {"values": values} for name, values in known.items()},
        "parameters": {name: {"dictionary": name, "probability": 0.7} for name in known},
    }
    contract = schemathesis.openapi.from_dict(describe(app), config=SchemathesisConfig.from_dict(config))
    contract.app = with_session
    breaches, successful = play(contract)
    assert breaches == []
    assert {"GET /", "GET /photos", "GET /review", "GET /account"} <= successful
