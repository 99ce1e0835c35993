"""Accounts, and the data that is stored about their owners (GDPR, articles 15, 17 and 20)."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from flask import Response, jsonify
from pydantic import BaseModel, Field

from ml.catalog.accounts.personal_data import Row, read_account, read_history
from ml.catalog.accounts.user_accounts import PASSWORD_MIN_LENGTH, Role
from ml.upkeep.erasing import erase_login, erase_owner
from ml.upkeep.role_changes import assign_role
from webapi import application_state
from webapi.access.authentication import current_account, current_actor, requires
from webapi.access.sessions import change_own_password
from webapi.api.parameters import Strict
from webapi.api.problem_answers import Problem, new_api

api = new_api("users", __name__, "general")


class Identity(BaseModel):
    """The account that the request is authenticated as."""

    login: str
    role: Role


class AccountData(Identity):
    """The stored account."""

    id: int
    created_at: datetime


class TokenData(BaseModel):
    """A token that a login created."""

    id: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class PredictionData(BaseModel):
    """A prediction that the account requested."""

    id: int
    image_sha256: str
    model_version: int
    is_cached: bool
    requested_at: datetime


class FeedbackData(BaseModel):
    """Feedback that the account gave."""

    id: int
    prediction_id: int
    verdict: str
    corrected_label: str | None
    instead: str | None
    proposed_name: str | None
    given_at: datetime


class LabelData(BaseModel):
    """A label that the account gave to an image."""

    id: int
    image_sha256: str
    label: str
    detail: Any
    origin: str
    said_at: datetime


class DecisionData(BaseModel):
    """A decision of the account in a review queue."""

    id: int
    image_sha256: str
    queue: str
    decision: str
    label: str | None
    reason: str | None
    changes: list[dict[str, Any]]
    decided_at: datetime
    undone_at: datetime | None


class SentBatchData(BaseModel):
    """Photos that the account sent at once: the name of the ZIP, or nothing for URLs."""

    id: int
    name: str
    is_cancelled: bool
    created_at: datetime
    finished_at: datetime | None


class NamedPhotoData(BaseModel):
    """A photo of such a batch: its name in the ZIP, or its URL."""

    id: int
    batch_id: int
    number: int
    name: str
    state: str
    problem: str | None
    prediction_id: int | None
    done_at: datetime | None


class PhotoData(BaseModel):
    """A stored photo that the account sent first."""

    image_sha256: str
    media_type: str
    width: int
    height: int
    byte_count: int
    received_at: datetime


class HarvestData(BaseModel):
    """A photo that models may learn from because of a prediction that the account requested."""

    image_sha256: str
    model_version: int
    harvested_at: datetime


class PromotionData(BaseModel):
    """A change of the version in production that the account made."""

    id: int
    kind: str
    from_version: int | None
    to_version: int | None
    reason: str
    intended_at: datetime
    completed_at: datetime | None


class EventData(BaseModel):
    """An entry of the audit log about an action of the account."""

    id: int
    kind: str
    detail: dict[str, Any]
    happened_at: datetime


class NewPassword(Strict):
    """The current password of the caller, and the new password."""

    password: str = Field(max_length=1024)
    new_password: str = Field(min_length=PASSWORD_MIN_LENGTH, max_length=1024)


class NewRole(Strict):
    """The role to give to an account."""

    role: Role


class AccountPath(BaseModel):
    """The login of an account."""

    login: str = Field(max_length=64)


class PersonalData(BaseModel):
    """All data about the account's owner, oldest first. Photos and harvests are in the order of the hashes."""

    account: AccountData
    tokens: list[TokenData]
    predictions: list[PredictionData]
    feedback: list[FeedbackData]
    labels: list[LabelData]
    decisions: list[DecisionData]
    prediction_batches: list[SentBatchData]
    batch_photos: list[NamedPhotoData]
    photos: list[PhotoData]
    harvests: list[HarvestData]
    promotions: list[PromotionData]
    events: list[EventData]


@api.get("/user", responses={200: Identity})
@requires("user")
def get_user() -> Response:
    """Return the caller's login and role."""
    account = current_account()
    return jsonify(login=account.login, role=account.role)


@api.get("/user/data", responses={200: PersonalData})
@requires("user")
def export_user() -> Response:
    """Return all data about the caller's account as one JSON document."""
    catalog, account_id = application_state.current().database.catalog(), current_account().id
    account = read_account(catalog, account_id)
    disposition = {"Content-Disposition": 'attachment; filename="mycoflow-personal-data.json"'}
    parts = _write_json(account, read_history(catalog, account_id))
    return Response(parts, mimetype="application/json", headers=disposition)


@api.delete("/user", responses={204: None, 409: Problem})
@requires("user")
def erase_user() -> Response:
    """Erase the caller's account for good. Its predictions and feedback stay, but without a link to the account.

    Raises: 409, it is the last admin account.
    """
    erase_owner(application_state.current_catalog(), current_account(), current_actor())
    return Response(status=204)


@api.put("/user/password", responses={204: None, 503: Problem})
@requires("user")
def put_password(body: NewPassword) -> Response:
    """Change the caller's password. This ends all sessions of the account: its tokens are invalid from now on.

    Raises: 403, the present password is wrong; 429, too many attempts.
    """
    change_own_password(current_account(), body.password, body.new_password)
    return Response(status=204)


@api.patch("/users/<login>", responses={200: Identity, 404: Problem, 409: Problem})
@requires("admin")
def patch_account(path: AccountPath, body: NewRole) -> Response:
    """Change the role of an account. The next request of its owner has the new role.

    Raises: 404, there is no such account; 409, it is the last admin account.
    """
    account = assign_role(application_state.current_catalog(), path.login, body.role, current_actor())
    return jsonify(login=account.login, role=account.role)


@api.delete("/users/<login>", responses={204: None, 404: Problem, 409: Problem})
@requires("admin")
def erase_other(path: AccountPath) -> Response:
    """Erase another account for good. Its predictions and feedback stay, but nothing links them to the account.

    Raises: 404, there is no such account; 409, it is the last admin account.
    """
    erase_login(application_state.current_catalog(), path.login, current_actor())
    return Response(status=204)


def _write_json(account: Row, history: Mapping[str, Iterator[Row]]) -> Iterator[str]:
    yield f'{{"account": {_to_json(account)}'
    for kind, rows in history.items():
        yield f',\n"{kind}": ['
        for number, row in enumerate(rows):
            yield (",\n" if number else "\n") + _to_json(row)
        yield "]"
    yield "}\n"


def _to_json(row: Row) -> str:
    return json.dumps(row, default=datetime.isoformat)
