"""The images, looked through and put right."""

from dataclasses import asdict

from flask import Response, jsonify
from flask_openapi3 import APIBlueprint, Tag

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.images.image_queries import query_images
from ml.data.data_changes import apply_changes
from ml.data.near_copies import measure_images
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.api.data_models import ChangesAnswer, ChangesBody, ImagesPage, ImagesQuery
from webapi.problems import Problem
from webapi.request_deadlines import begin_until, current_deadline

api = APIBlueprint("data", __name__, abp_tags=[Tag(name="data")])


@api.get("/data/query", responses={200: ImagesPage})
@requires("admin")
def get_images(query: ImagesQuery) -> Response:
    """Look through the images, the newest first."""
    with begin_until(application_state.current().database.catalog(), current_deadline()) as connection:
        page = query_images(connection, query.wanted, query.limit, query.cursor)
    return jsonify(ImagesPage.model_validate(page).model_dump(mode="json"))


@api.post("/data/update", responses={200: ChangesAnswer, 404: Problem, 409: Problem})
@requires("admin")
def post_changes(body: ChangesBody) -> Response:
    """Certify, relabel or exclude images: all of the list, or none where one is refused. The audit log keeps each."""
    changes = [entry.change for entry in body.changes]
    state = application_state.current()
    catalog = state.database.catalog()
    measure_images(catalog, {change.sha256 for change in changes if change.action != "exclude"})
    with begin_until(catalog, current_deadline()) as connection:
        done = apply_changes(connection, changes, actor_name(current_account()), state.settings.mirrored_views)
    return jsonify(
        changes=[
            {
                "sha256": each.change.sha256,
                "action": each.change.action,
                "is_changed": each.is_changed,
                "before": asdict(each.before),
                "after": asdict(each.after),
            }
            for each in done
        ]
    )
