"""Bearer tokens for passwords."""

from datetime import datetime, timedelta

from flask import Response, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from ml.catalog.accounts.tokens import issue_token, revoke_token
from webapi import application_state
from webapi.access.authentication import password_checker, public, requires, unauthorized
from webapi.api.parameters import Strict
from webapi.problems import Problem, ProblemError

api = APIBlueprint("auth", __name__, abp_tags=[Tag(name="general")])


class Credentials(Strict):
    """A login and its password."""

    login: str = Field(max_length=64)
    password: str = Field(max_length=1024)


class Token(BaseModel):
    """What to send as `Authorization: Bearer ...`, and until when."""

    token: str
    expires_at: datetime


@api.post("/auth/login", responses={200: Token, 401: Problem, 429: Problem, 503: Problem})
@public
def log_in(body: Credentials) -> Response:
    """Get a bearer token for a login and its password.

    Raises: 401, they are wrong; 429, too many tries for this login or from this address.
    """
    current = application_state.current()
    catalog = current.database.catalog()
    account = password_checker().check(catalog, body.login, body.password)
    if account is None:
        raise unauthorized("The login or the password is wrong, or the account is disabled.")
    with catalog.begin() as connection:
        issued = issue_token(connection, account.id, timedelta(hours=current.settings.token_hours))
    return jsonify(token=issued.token, expires_at=issued.expires_at.isoformat())


@api.post("/auth/logout", responses={204: None, 400: Problem})
@requires("user")
def log_out() -> Response:
    """Revoke the bearer token that this request presents.

    Raises: 400, it presents none.
    """
    credentials = request.authorization
    if credentials is None or credentials.type != "bearer" or credentials.token is None:
        raise ProblemError(400, "no-token", "Expected a bearer token to revoke, got HTTP Basic credentials.")
    with application_state.current().database.catalog().begin() as connection:
        revoke_token(connection, credentials.token)
    return Response(status=204)
