"""Log in and out: exchange a password for a bearer token."""

from datetime import datetime

from flask import Response, jsonify, request
from pydantic import BaseModel, Field

from webapi.access import sessions
from webapi.access.authentication import public, requires
from webapi.api.parameters import Strict
from webapi.api.problem_answers import Problem, new_api
from webapi.problems import ProblemError

api = new_api("auth", __name__, "general")


class Credentials(Strict):
    """A login and its password."""

    login: str = Field(max_length=64)
    password: str = Field(max_length=1024)


class Token(BaseModel):
    """A token for `Authorization: Bearer ...`, and the time when it expires."""

    token: str
    expires_at: datetime


@api.post("/auth/login", responses={200: Token, 401: Problem, 429: Problem, 503: Problem})
@public
def log_in(body: Credentials) -> Response:
    """Get a bearer token for a login and its password.

    Raises: 401, login or password is wrong; 429, too many attempts for this login or from this address.
    """
    issued = sessions.log_in(body.login, body.password)
    return jsonify(token=issued.token, expires_at=issued.expires_at.isoformat())


@api.post("/auth/logout", responses={204: None, 400: Problem})
@requires("user")
def log_out() -> Response:
    """Revoke the bearer token of this request.

    Raises: 400, the request has none.
    """
    credentials = request.authorization
    if credentials is None or credentials.type != "bearer" or credentials.token is None:
        raise ProblemError(400, "no-token", "Expected a bearer token to revoke, got HTTP Basic credentials.")
    sessions.log_out(credentials.token)
    return Response(status=204)
