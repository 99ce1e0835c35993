"""The pages of one batch: its progress, and the result of each photo."""

from typing import get_args

from flask import Response, flash, jsonify, make_response, redirect, url_for
from flask_babel import gettext as _

from ml.data.class_lists.class_search import ClassSearch
from ml.serving.photo_batches.batch_results import ResultFilter, Shown, list_batch_classes, list_results
from ml.serving.photo_batches.own_batches import BatchSummary, delete_batch
from webapi.access.authentication import current_account
from webapi.api.routes.batch_routes import cancel_own, read_own, send_csv
from webapi.application_state import current_catalog
from webapi.pages.form_pages import page_argument
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_words.problem_words import words_of_kind

pages = new_pages("batches_of_photos", __name__)

_PAGE_SIZE = 48
_MOST_LISTED = 100  # species; beyond, a field finds them
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"


@pages.get("/many/<int:prediction_batch_id>")
@page("user")
def show_batch(prediction_batch_id: int) -> Response:
    """Show how far a batch is, and its photos in their order."""
    batch, catalog = read_own(prediction_batch_id), current_catalog()
    species, typed = list_batch_classes(catalog, batch.id), page_argument("species")
    name = None if typed is None else ClassSearch(species).find(typed) or typed
    wanted = ResultFilter(_shown(page_argument("shown")), name)
    after = _number(page_argument("after"))
    found = list_results(catalog, batch.id, wanted, after, _PAGE_SIZE + 1)
    return respond(
        "pages/batch.html",
        batch=batch,
        state=describe_progress(batch),
        photos=found[:_PAGE_SIZE],
        wanted=wanted,
        after=after,
        has_more=len(found) > _PAGE_SIZE,
        species=species,
        most_listed=_MOST_LISTED,
        words_of=words_of_kind,
    )


@pages.post("/many/<int:prediction_batch_id>")
@page("user")
def stop_batch(prediction_batch_id: int) -> Response:
    """Cancel a batch."""
    if cancel_own(prediction_batch_id).state == "cancelled":
        flash(_("The batch is cancelled. The answers that it has stay."))
    address = url_for("batches_of_photos.show_batch", prediction_batch_id=prediction_batch_id)
    return make_response(redirect(address, 303))


@pages.get("/many/<int:prediction_batch_id>/progress")
@page("user")
def get_progress(prediction_batch_id: int) -> Response:
    """Return how far a batch is, for the script of its page."""
    batch = read_own(prediction_batch_id)
    return jsonify(done=batch.done, is_working=batch.state == "working", text=describe_progress(batch))


@pages.get("/many/<int:prediction_batch_id>/photos.csv")
@page("user")
def get_csv(prediction_batch_id: int) -> Response:
    """Return what became of the photos as a file for spreadsheets."""
    return send_csv(read_own(prediction_batch_id), _BYTE_ORDER_MARK)


@pages.get("/many/<int:prediction_batch_id>/delete")
@page("user")
def ask_to_remove(prediction_batch_id: int) -> Response:
    """Ask whether a batch shall be deleted."""
    return respond("pages/delete_batch.html", batch=read_own(prediction_batch_id))


@pages.post("/many/<int:prediction_batch_id>/delete")
@page("user")
def remove_batch(prediction_batch_id: int) -> Response:
    """Delete a batch for good."""
    delete_batch(current_catalog(), current_account(), prediction_batch_id)
    flash(_("The batch is deleted."))
    return make_response(redirect(url_for("many.show_many"), 303))


def describe_progress(batch: BatchSummary) -> str:
    """Say in words how far a batch is."""
    parts = [_("%(done)s of %(total)s photos are done.", done=batch.done, total=batch.total)]
    parts.append(_("%(count)s have a name.", count=batch.named))
    if batch.failed:
        parts.append(_("%(count)s could not be named.", count=batch.failed))
    if batch.skipped:
        parts.append(_("%(count)s were skipped.", count=batch.skipped))
    return " ".join(map(str, parts))


def _shown(text: str | None) -> Shown | None:
    return next((shown for shown in get_args(Shown) if shown == text), None)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 6 else 0
