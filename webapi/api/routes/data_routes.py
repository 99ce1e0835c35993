"""Browse images, predictions, feedback and the audit log; correct images."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from flask import Response, jsonify

from ml.catalog.annotations import label_of
from ml.data.data_changes import change_images
from ml.reporting.browsing import browse_events, browse_feedback, browse_images, browse_predictions
from webapi import application_state
from webapi.access.authentication import current_account, current_actor, requires
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
from webapi.api.percent import to_percent
from webapi.api.problem_answers import Problem, new_api
from webapi.application_state import current_catalog
from webapi.problems import ProblemError

api = new_api("data", __name__, "data")


@api.get("/data/query", responses={200: DataPage})
@requires("expert")
def get_data(query: DataQuery) -> Response:
    """List images, predictions, feedback or the audit log, newest first.

    Experts see only images that they may judge, and no logins. Only admins see the audit log.
    """
    if query.misplaced is not None:
        detail = f"{query.misplaced}: expected none with kind={query.kind}, got one. Each kind has its own filters."
        raise ProblemError(422, "invalid-request", detail)
    return jsonify(_READERS[query.kind](query).model_dump(mode="json"))


def _read_images(query: DataQuery) -> ImagesPage:
    page = browse_images(current_catalog(), current_account(), query.images, query.limit, query.cursor)
    rows = [vars(row) | {"sha256": row.id, "label": label_of(row.annotation)} for row in page.items]
    return ImagesPage.model_validate({"images": rows, "next_cursor": page.next_cursor})


def _read_predictions(query: DataQuery) -> PredictionsPage:
    page = browse_predictions(current_catalog(), current_account(), query.logs, query.limit, query.cursor)
    rows = [_with_percent(_named(row)) for row in page.rows]
    return PredictionsPage.model_validate({"predictions": rows, "next_cursor": page.next_cursor})


def _read_feedback(query: DataQuery) -> FeedbackPage:
    page = browse_feedback(current_catalog(), current_account(), query.logs, query.limit, query.cursor)
    return FeedbackPage.model_validate({"feedback": list(map(_named, page.rows)), "next_cursor": page.next_cursor})


def _read_events(query: DataQuery) -> EventsPage:
    page = browse_events(current_catalog(), current_account(), query.logs, query.limit, query.cursor)
    return EventsPage.model_validate({"events": list(map(asdict, page.rows)), "next_cursor": page.next_cursor})


def _named(row: Any) -> dict[str, Any]:
    """Return a row with the API's names."""
    return asdict(row) | {"image_sha256": row.item_id}


def _with_percent(row: dict[str, Any]) -> dict[str, object]:
    return row | {"proba": to_percent(row["confidence"])}


_READERS: dict[str, Callable[[DataQuery], ImagesPage | PredictionsPage | FeedbackPage | EventsPage]] = {
    "images": _read_images,
    "predictions": _read_predictions,
    "feedback": _read_feedback,
    "events": _read_events,
}


@api.post("/data/update", responses={200: ChangesAnswer, 404: Problem, 409: Problem})
@requires("admin")
def post_changes(body: ChangesBody) -> Response:
    """Certify, relabel or exclude images. If one change is refused, none is made. The audit log records each change."""
    service = application_state.current()
    changes = [entry.change(service.reader) for entry in body.changes]
    done = change_images(current_catalog(), changes, current_actor(), service.settings.mirrored_views)
    return jsonify(
        changes=[
            {
                "sha256": each.change.item_id,
                "action": each.change.action,
                "is_changed": each.is_changed,
                "before": each.before.to_json(),
                "after": each.after.to_json(),
            }
            for each in done
        ]
    )
