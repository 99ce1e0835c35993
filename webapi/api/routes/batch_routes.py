"""Prediction batches: many photos at once, answered in the background."""

from typing import Any

from flask import Response, jsonify, request, url_for
from pydantic import BaseModel, ValidationError

from ml.serving.photo_batches.batch_intake import MOST_ARCHIVE_BYTES, add_addresses, add_archive
from ml.serving.photo_batches.batch_results import list_results, write_csv
from ml.serving.photo_batches.own_batches import BatchSummary, cancel_batch, delete_batch, list_batches, read_batch
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.access.large_uploads import takes_large_uploads
from webapi.access.maintenance_gate import refuse_in_maintenance
from webapi.api.batch_models import (
    RESULTS_CSV,
    ZIP_OR_URLS,
    BatchPhotosAnswer,
    PredictionBatchData,
    PredictionBatchesAnswer,
    PredictionBatchPath,
    ResultsQuery,
    UrlsBody,
    describe_batch,
    describe_photo,
)
from webapi.api.problem_answers import Problem, new_api
from webapi.application_state import current_catalog
from webapi.problems import ProblemError, refuse_invalid
from webapi.request_deadlines import restart_deadline

api = new_api("prediction_batches", __name__, "predictions")

MOST_LISTED = 50
_PROBLEMS: dict[int | str, type[BaseModel] | dict[Any, Any] | None] = {
    400: Problem,
    409: Problem,
    413: Problem,
    415: Problem,
}


@api.post(
    "/prediction-batches",
    responses={202: PredictionBatchData, **_PROBLEMS},
    openapi_extensions={"requestBody": ZIP_OR_URLS},
)
@takes_large_uploads(MOST_ARCHIVE_BYTES)
@requires("user")
def post_prediction_batch() -> tuple[Response, int, dict[str, str]]:
    """Predict the classes of up to 1000 photos: a ZIP in `file` of a multipart form, or `urls` in a JSON object.

    The answer comes at once, and the predictions are made in the background. Requests for one photo go first. Each
    photo counts as a prediction of the caller. One that is refused does not stop the others. The ZIP is deleted when
    the last photo is done.
    """
    refuse_in_maintenance()
    batch = read_own(take_addresses(_read_urls()) if request.is_json else take_archive())
    address = url_for("prediction_batches.get_own_batch", prediction_batch_id=batch.id)
    return jsonify(describe_batch(batch)), 202, {"Location": address}


@api.get("/prediction-batches", responses={200: PredictionBatchesAnswer})
@requires("user")
def list_own() -> Response:
    """List the latest batches of the caller, newest first."""
    batches = list_batches(current_catalog(), current_account(), MOST_LISTED)
    return jsonify(batches=[describe_batch(each) for each in batches])


@api.get("/prediction-batches/<int:prediction_batch_id>", responses={200: PredictionBatchData, 404: Problem})
@requires("user")
def get_own_batch(path: PredictionBatchPath) -> Response:
    """Return how far a batch is. Users see their own batches, admins all.

    Raises: 404, there is no such batch, or the account may not see it.
    """
    return jsonify(describe_batch(read_own(path.prediction_batch_id)))


@api.get("/prediction-batches/<int:prediction_batch_id>/photos", responses={200: BatchPhotosAnswer, 404: Problem})
@requires("user")
def get_batch_photos(path: PredictionBatchPath, query: ResultsQuery) -> Response:
    """Return what became of the photos of a batch, in its order.

    Raises: 404, there is no such batch, or the account may not see it.
    """
    batch = read_own(path.prediction_batch_id)
    photos = list_results(current_catalog(), batch.id, query.wanted, query.after, query.limit)
    return jsonify(photos=[describe_photo(each) for each in photos])


@api.get("/prediction-batches/<int:prediction_batch_id>/photos.csv", responses={200: RESULTS_CSV, 404: Problem})
@requires("user")
def get_batch_csv(path: PredictionBatchPath) -> Response:
    """Return what became of all photos of a batch as CSV, in UTF-8.

    Raises: 404, there is no such batch, or the account may not see it.
    """
    return send_csv(read_own(path.prediction_batch_id))


@api.post("/prediction-batches/<int:prediction_batch_id>/cancel", responses={200: PredictionBatchData, 404: Problem})
@requires("user")
def cancel_own_batch(path: PredictionBatchPath) -> Response:
    """Cancel a batch: photos that still wait are skipped. Answers that it has stay.

    Raises: 404, there is no such batch, or the account may not see it.
    """
    return jsonify(describe_batch(cancel_own(path.prediction_batch_id)))


@api.delete("/prediction-batches/<int:prediction_batch_id>", responses={204: None, 404: Problem})
@requires("user")
def delete_own_batch(path: PredictionBatchPath) -> Response:
    """Delete a batch and its ZIP. The photos and their answers remain. `DELETE /images/{sha256}` erases a photo.

    Raises: 404, there is no such batch, or the account may not see it.
    """
    delete_batch(current_catalog(), current_account(), path.prediction_batch_id)
    return Response(status=204)


def take_archive() -> int:
    """Take in the ZIP that the current request brought, and return the id of its batch.

    Raises: ProblemError, 422, it brought none; the errors of add_archive.
    """
    file = request.files.get("file")
    if file is None or not file.filename:
        detail = "Expected a ZIP in the field `file` of a multipart form, or JSON with `urls`."
        raise ProblemError(422, "missing-archive", detail)
    restart_deadline()
    # Its deadline is for requests: a ZIP of some GB takes longer to its store.
    service = application_state.current()
    batch_id = add_archive(service.database.catalog(), current_account().id, file.filename, file.stream)
    service.batches.wake()
    restart_deadline()
    return batch_id


def take_addresses(addresses: list[str]) -> int:
    """Take in addresses, and return the id of their batch.

    Raises: the errors of add_addresses.
    """
    batch_id = add_addresses(current_catalog(), current_account().id, addresses)
    application_state.current().batches.wake()
    return batch_id


def read_own(batch_id: int) -> BatchSummary:
    """Return a batch that the caller may see.

    Raises: UnknownBatchError.
    """
    return read_batch(current_catalog(), current_account(), batch_id)


def cancel_own(batch_id: int) -> BatchSummary:
    """Cancel a batch that the caller may see, and return it.

    Raises: UnknownBatchError.
    """
    batch = cancel_batch(current_catalog(), current_account(), batch_id)
    application_state.current().batches.wake()
    return batch


def send_csv(batch: BatchSummary, mark: str = "") -> Response:
    """Return the photos of a batch as a CSV file. Args: mark, before all: spreadsheets need one to know UTF-8."""
    text = mark + write_csv(list_results(current_catalog(), batch.id))
    name = f"mycoflow-batch-{batch.id}.csv"
    return Response(text, mimetype="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _read_urls() -> list[str]:
    try:
        return UrlsBody.model_validate(request.get_json()).urls
    except ValidationError as error:
        refuse_invalid(error)
