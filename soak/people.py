"""The simulated users of the service: a visitor sends photos, an expert gives feedback on the answers."""

import io
import secrets
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from ml.catalog.accounts.user_accounts import Role, add_account
from ml.catalog.database import Catalog
from ml.errors import MycoflowError


@dataclass(frozen=True)
class Person:
    """A user who is logged in."""

    client: FlaskClient
    token: str

    def post(self, path: str, **content: Any) -> Any:
        """Send JSON or a form. Returns: the JSON of the answer. Raises: MycoflowError, its status is an error."""
        return _post(self.client, path, headers={"Authorization": f"Bearer {self.token}"}, **content)


def arrive(app: Flask, catalog: Catalog, role: Role) -> Person:
    """Create an account of this role, and log in."""
    password = secrets.token_urlsafe(16)
    add_account(catalog, role, role, password)
    client = app.test_client()
    return Person(client, _post(client, "/auth/login", json={"login": role, "password": password})["token"])


def ask_and_correct(visitor: Person, expert: Person, name: str, photo: bytes) -> tuple[int, bool]:
    """Send a photo as the visitor, and give feedback on the answer as the expert.

    Args: name, the true class of the photo.
    Returns: the model version that answered, and whether the answer was right.
    """
    answer = visitor.post("/predictions", data={"file": (io.BytesIO(photo), "photo.png")})
    is_right = answer["results"][0]["name"] == name
    opinion = {"verdict": "ok"} if is_right else {"verdict": "nok", "corrected_label": name}
    expert.post(f"/predictions/{answer['id']}/feedback", json=opinion)
    return answer["model"]["version"], is_right


def _post(client: FlaskClient, path: str, **content: Any) -> Any:
    answer = client.post(path, **content)
    if answer.status_code >= 400:
        raise MycoflowError(f"Expected POST {path} to succeed. It answered {answer.status_code}: {answer.text}")
    return answer.json
