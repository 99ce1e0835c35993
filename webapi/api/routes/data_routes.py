"""Images, predictions, feedback and the audit log, looked through; images put right."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.annotations import label_of
from ml.catalog.images.image_queries import query_images
from ml.catalog.logs.log_queries import query_events, query_feedback, query_predictions
from ml.data.copies.near_copies import measure_images
from ml.data.data_changes import apply_changes
from ml.data.image_viewing import may_be_seen_by
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.api.data_models import (
    ChangesAnswer,
    ChangesBody,
    DataPage,
    DataQuery,
    EventsPage,
    FeedbackPage,
    ImagesPage,
    PredictionsPage,
)
from webapi.problems import Problem, ProblemError
from webapi.request_deadlines import begin_until, current_deadline

api = APIBlueprint("data", __name__, abp_tags=[Tag(name="data")])


@api.get("/data/query", responses={200: DataPage})
@requires("expert")
def get_data(query: DataQuery) -> Response:
    """Look through images, predictions, feedback or the audit log, the newest first.

    Experts see the images that they may judge, and nobody's login; the audit log is the admins'.
    """
    account = current_account()
    if query.misplaced is not None:
        detail = f"{query.misplaced}: expected none with kind={query.kind}, got one. Each kind has filters of its own."
        raise ProblemError(422, "invalid-request", detail)
    if account.role != "admin" and (query.kind == "events" or query.login is not None):
        raise ProblemError(403, "forbidden", "The audit log and people's logins are for admins.")
    with begin_until(application_state.current().database.catalog(), current_deadline()) as connection:
        return jsonify(_READERS[query.kind](connection, query, account))


def _read_images(connection: sa.Connection, query: DataQuery, account: Account) -> dict[str, object]:
    visible = None if account.role == "admin" else may_be_seen_by(account)
    page = query_images(connection, query.images, query.limit, query.cursor, visible)
    rows = [vars(row) | {"sha256": row.id, "label": label_of(row.annotation)} for row in page.items]
    return ImagesPage.model_validate({"images": rows, "next_cursor": page.next_cursor}).model_dump(mode="json")


def _read_predictions(connection: sa.Connection, query: DataQuery, account: Account) -> dict[str, object]:
    page = query_predictions(connection, query.logs, query.limit, query.cursor)
    rows = [_with_percent(_for_reader(row, account)) for row in page.rows]
    return PredictionsPage.model_validate({"predictions": rows, "next_cursor": page.next_cursor}).model_dump(
        mode="json"
    )


def _read_feedback(connection: sa.Connection, query: DataQuery, account: Account) -> dict[str, object]:
    page = query_feedback(connection, query.logs, query.limit, query.cursor)
    rows = [_for_reader(row, account) for row in page.rows]
    return FeedbackPage.model_validate({"feedback": rows, "next_cursor": page.next_cursor}).model_dump(mode="json")


def _read_events(connection: sa.Connection, query: DataQuery, _account: Account) -> dict[str, object]:
    page = query_events(connection, query.logs, query.limit, query.cursor)
    rows = [asdict(row) for row in page.rows]
    return EventsPage.model_validate({"events": rows, "next_cursor": page.next_cursor}).model_dump(mode="json")


def _for_reader(row: Any, account: Account) -> dict[str, object]:
    """A row in the words of the API, without the login that only admins see."""
    return asdict(row) | {"image_sha256": row.item_id} | ({} if account.role == "admin" else {"login": None})


def _with_percent(row: dict[str, Any]) -> dict[str, object]:
    return row | {"proba": round(100 * row["confidence"], 2)}


_READERS: dict[str, Callable[[sa.Connection, DataQuery, Account], dict[str, object]]] = {
    "images": _read_images,
    "predictions": _read_predictions,
    "feedback": _read_feedback,
    "events": _read_events,
}


@api.post("/data/update", responses={200: ChangesAnswer, 404: Problem, 409: Problem})
@requires("admin")
def post_changes(body: ChangesBody) -> Response:
    """Certify, relabel or exclude images: all of the list, or none where one is refused. The audit log keeps each."""
    changes = [entry.change for entry in body.changes]
    state = application_state.current()
    catalog = state.database.catalog()
    measure_images(catalog, {change.item_id for change in changes if change.action != "exclude"})
    with begin_until(catalog, current_deadline()) as connection:
        done = apply_changes(connection, changes, actor_name(current_account()), state.settings.mirrored_views)
    return jsonify(
        changes=[
            {
                "sha256": each.change.item_id,
                "action": each.change.action,
                "is_changed": each.is_changed,
                "before": each.before.shown(),
                "after": each.after.shown(),
            }
            for each in done
        ]
    )
