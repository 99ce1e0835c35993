"""Review: the queues, and a grid of photos to certify, correct or reject with the keyboard."""

from collections.abc import Sequence

from flask import Response, flash, jsonify, make_response, redirect, request, url_for
from flask_babel import format_datetime
from flask_babel import gettext as _
from pydantic import BaseModel, TypeAdapter, ValidationError

from ml.data.image_viewing import read_known_photo
from ml.data.reviewing.deciding import Conflict, Decision, decide, undo
from ml.data.reviewing.queue_reading import (
    Queue,
    QueueFilter,
    Shown,
    list_labels,
    read_batches,
    read_counts,
    read_queue,
    read_rejects,
)
from webapi import application_state
from webapi.access.authentication import current_account
from webapi.api.review_models import MAX_DECISIONS, DecisionsBody, UndoBody, describe_entry
from webapi.application_state import current_catalog
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.problems import ProblemError, refuse_invalid
from webapi.request_deadlines import current_deadline

pages = new_pages("reviewing", __name__)

_BY_DIGIT = 9
_KEPT = "private, no-cache"
_Decisions = TypeAdapter(DecisionsBody)


class _Card(BaseModel):
    """An item as a form without scripts sends it back."""

    item: str
    seen: str
    label: str


@pages.get("/review")
@page("expert")
def show_queues() -> Response:
    """Show how much waits in each queue, and the batches of the sources."""
    counts, batches = read_counts(current_catalog()), read_batches(current_catalog())
    return respond("pages/queues.html", counts=counts, batches=batches, words=_words())


@pages.get("/review/batches/<int:batch_id>")
@page("expert")
def show_rejects(batch_id: int) -> Response:
    """Show the rejected files of a batch, with the reasons."""
    return respond("pages/rejects.html", batch_id=batch_id, rejects=read_rejects(current_catalog(), batch_id))


@pages.get("/review/<any(mispredicted, waiting, uncertain, suspected):queue>")
@page("expert")
def show_queue(queue: Queue) -> Response:
    """Show a page of a queue as a grid."""
    wanted = _wanted(queue)
    found = read_queue(current_catalog(), wanted, MAX_DECISIONS, request.args.get("cursor") or None)
    labels = list_labels(current_catalog())
    return respond(
        "pages/review.html",
        queue=wanted.queue,
        words=_words(),
        cards=[_card(shown) for shown in found.shown],
        counts=found.counts,
        chosen=wanted.class_name,
        batch_id=wanted.batch_id,
        next_cursor=found.next_cursor,
        labels=labels,
        by_digit=labels[:_BY_DIGIT],
        rejections={"other": _("another species"), "none": _("none of the species"), "unsure": _("wrong, unsure what")},
    )


@pages.post("/review/<any(mispredicted, waiting, uncertain, suspected):queue>")
@page("expert")
def decide_in_queue(queue: Queue) -> Response:
    """Take decisions: as JSON in one field from the script, or from a plain form the items and the marked ones."""
    wanted = _wanted(queue)
    if "decisions" in request.form:
        decisions = [each.decision_of() for each in _read_decisions(request.form["decisions"]).decisions]
        decided, conflicts = _decide(decisions)
        answer = [{"item": item_id, "decision": number} for item_id, number in decided.items()]
        return jsonify(decided=answer, told=list(map(_tell, conflicts)), conflicts=[each.item_id for each in conflicts])
    cards = _read_cards()
    marked = set(request.form.getlist("marked"))
    decisions = [
        Decision(each.item, wanted.queue, each.seen, "certify", each.label)
        for each in cards[:MAX_DECISIONS]
        if each.item not in marked and each.label
    ]
    decided, conflicts = _decide(decisions) if decisions else ({}, [])
    flash(_("Photos certified: %(count)s", count=len(decided)))
    for conflict in conflicts:
        flash(_tell(conflict))
    return make_response(redirect(request.full_path.rstrip("?"), 303))


@pages.post("/review/undo")
@page("expert")
def undo_decisions() -> Response:
    """Undo decisions; a script sends their numbers as JSON in one field."""
    try:
        body = UndoBody.model_validate_json(request.form.get("decisions", ""))
    except ValidationError as error:
        refuse_invalid(error)
    outcome = undo(current_catalog(), current_account(), body.ids)
    return jsonify(undone=outcome.undone, told=list(map(_tell, outcome.conflicts)))


@pages.get("/review/similar/<sha256>")
@page("expert")
def list_similar(sha256: str) -> Response:
    """Return the known photos that are similar to a photo, for the large view."""
    service = application_state.current()
    found = service.similar.find(
        current_catalog(), service.models.current, current_account(), sha256, current_deadline()
    )
    return jsonify(
        photos=[
            {
                "url": url_for("reviewing.get_known_photo", sha256=each.image_sha256),
                "label": each.annotation.label,
                "credit": ", ".join(filter(None, (each.holder, each.licence))),
            }
            for each in found
        ]
    )


@pages.get("/review/known/<sha256>")
@page("expert")
def get_known_photo(sha256: str) -> Response:
    """Return a known photo, which is shown beside another one."""
    photo = read_known_photo(current_catalog(), sha256)
    response = Response(photo.content, mimetype=photo.media_type, headers={"Cache-Control": _KEPT, "Vary": "Cookie"})
    response.set_etag(sha256)
    response.make_conditional(request)
    return response


def _read_cards() -> list[_Card]:
    try:
        return [_Card.model_validate_json(each) for each in request.form.getlist("shown")]
    except ValidationError as error:
        refuse_invalid(error)


def _wanted(queue: Queue) -> QueueFilter:
    batch = request.args.get("batch", "")
    batch_id = int(batch) if batch.isascii() and batch.isdigit() and len(batch) < 10 else None
    return QueueFilter(queue, request.args.get("class") or None, batch_id)


def _read_decisions(text: str) -> DecisionsBody:
    try:
        return _Decisions.validate_json(text)
    except ValidationError as error:
        refuse_invalid(error)


def _decide(decisions: Sequence[Decision]) -> tuple[dict[str, int], list[Conflict]]:
    if len({each.item_id for each in decisions}) < len(decisions):
        raise ProblemError(422, "invalid-request", "decisions: expected one about each item, got several about one.")
    service = application_state.current()
    outcome = decide(current_catalog(), current_account(), decisions, service.settings.mirrored_views, service.reader)
    return outcome.decided, outcome.conflicts


def _card(shown: Shown) -> dict[str, object]:
    """Return what a card shows, and what a form without scripts sends back of it."""
    card = _Card(item=shown.entry.item_id, seen=shown.seen, label=shown.entry.proposed or "")
    return {**describe_entry(shown), "proposed": card.label, "card": card.model_dump_json()}


def _tell(conflict: Conflict) -> str:
    """Say in words who decided first."""
    last = conflict.last
    if last is None:
        return str(_("A photo was changed since you saw it, so your decision about it was not made."))
    who = last.login or str(_("A former account"))
    when = format_datetime(last.undone_at or last.decided_at, "short")
    if last.undone_at is not None:
        return str(_("%(who)s decided about a photo before you and undid it (%(when)s UTC).", who=who, when=when))
    if last.reason is not None:
        return str(
            _("%(who)s was first, and rejected a photo: %(why)s (%(when)s UTC).", who=who, why=last.reason, when=when)
        )
    return str(
        _("%(who)s was first: a photo is now %(name)s (%(when)s UTC).", who=who, name=last.class_name, when=when)
    )


def _words() -> dict[Queue, tuple[str, str]]:
    """Return the name and the meaning of each queue."""
    return {
        "mispredicted": (
            str(_("Mispredicted")),
            str(_("Somebody said that the answer is wrong.")),
        ),
        "waiting": (
            str(_("Waiting for a certificate")),
            str(_("Sources brought these photos with a label. Models learn from them once somebody has certified it.")),
        ),
        "uncertain": (
            str(_("Uncertain")),
            str(_("The model hesitated between two species. The closest calls come first.")),
        ),
        "suspected": (
            str(_("Suspected wrong labels")),
            str(_("A model that has not seen the photo is sure that its label is wrong.")),
        ),
    }
