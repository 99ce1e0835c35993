"""Review: the queues, and a grid of photos to certify, correct or reject with the keyboard."""

import itertools
import string
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from flask import Response, flash, jsonify, make_response, redirect, request, url_for
from flask_babel import gettext as _
from markupsafe import Markup
from pydantic import BaseModel, TypeAdapter, ValidationError

from ml.data.class_lists.class_search import ClassSearch, search_key
from ml.data.reviewing.deciding import Conflict, Decision, decide, undo
from ml.data.reviewing.queue_reading import (
    Queue,
    QueueFilter,
    Shown,
    ShownPage,
    read_batches,
    read_counts,
    read_queue,
    read_rejects,
)
from ml.errors import ReviewError
from webapi import application_state
from webapi.access.authentication import current_account
from webapi.api.data_models import Sha256
from webapi.api.prediction_models import Label
from webapi.api.review_models import MAX_DECISIONS, DecisionsBody, Seen, UndoBody, describe_entry
from webapi.application_state import current_catalog
from webapi.pages.form_pages import page_argument, prefill
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.class_pages import MOST_NAMES, read_reviewed_classes
from webapi.pages.page_views.photo_files import read_hash
from webapi.pages.page_words.review_words import describe_photo, list_facts, queue_words, tell_conflict
from webapi.pages.page_words.template_words import write_moment
from webapi.problems import ProblemError, refuse_invalid
from webapi.request_deadlines import current_deadline

pages = new_pages("reviewing", __name__)

_QUEUE = "/review/<any(mispredicted, waiting, uncertain, suspected, disputed):queue>"
_Decisions = TypeAdapter(DecisionsBody)


class _Card(BaseModel):
    """An item as a form without scripts sends it back."""

    item: Sha256
    seen: Seen
    label: Label | Literal[""]


@pages.get("/review")
@page("expert")
def show_queues() -> Response:
    """Show how much waits in each queue, and the batches of the sources."""
    counts, batches = read_counts(current_catalog()), read_batches(current_catalog())
    return respond("pages/queues.html", counts=counts, batches=batches, words=queue_words())


@pages.get("/review/batches/<int:batch_id>")
@page("expert")
def show_rejects(batch_id: int) -> Response:
    """Show the rejected files of a batch, with the reasons."""
    return respond("pages/rejects.html", batch_id=batch_id, rejects=read_rejects(current_catalog(), batch_id))


@pages.get(_QUEUE)
@page("expert")
def show_queue(queue: Queue) -> Response:
    """Show a page of a queue as a grid."""
    wanted = _wanted(queue)
    found = read_queue(current_catalog(), wanted, MAX_DECISIONS, page_argument("cursor"))
    near: list[str] = []
    if not found.shown and wanted.class_name is not None and wanted.class_name not in found.counts:
        waiting = ClassSearch(name for name in found.counts if name is not None)
        if name := waiting.find(wanted.class_name):
            return make_response(redirect(_address(replace(wanted, class_name=name)), 303))
        near = waiting.list_near(wanted.class_name, MOST_NAMES)
    typed = prefill()
    return respond(
        "pages/review.html",
        queue=wanted.queue,
        words=queue_words(),
        groups=_group(wanted.queue, found),
        counts=found.counts,
        classes=(classes := _choose_classes(found.counts, wanted.class_name)),
        has_more_classes=len(classes) < len(found.counts.keys() - {None}),
        chosen=wanted.class_name,
        batch_id=wanted.batch_id,
        next_cursor=found.next_cursor,
        near=near,
        by_digit=_choose_digits(found),
        marked=set() if typed is None else set(typed.getlist("marked")),
    )


@pages.post(_QUEUE)
@page("expert")
def decide_in_queue(queue: Queue) -> Response:
    """Take decisions: as JSON in one field from the script, or from a plain form the items and the marked ones."""
    wanted = _wanted(queue)
    if "decisions" in request.form:
        decisions = [each.decision_of() for each in _read_decisions(request.form["decisions"]).decisions]
        decided, conflicts = _decide(decisions)
        answer = [{"item": item_id, "decision": number} for item_id, number in decided.items()]
        return jsonify(decided=answer, told=_tell_script(conflicts), conflicts=[each.item_id for each in conflicts])
    decisions = _read_form(wanted.queue)
    decided, conflicts = _decide(decisions) if decisions else ({}, [])
    flash(_("Photos certified: %(count)s", count=len(decided)))
    for conflict in conflicts:
        text, at = tell_conflict(conflict)
        flash(Markup("{} {}").format(text, "" if at is None else write_moment(at)))
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
    return jsonify(undone=outcome.undone, told=_tell_script(outcome.conflicts))


@pages.get("/review/similar/<sha256>")
@page("expert")
def list_similar(sha256: str) -> Response:
    """Return the known photos that are similar to a photo, for the large view."""
    service = application_state.current()
    found = service.similar.find(
        current_catalog(), service.models.current, current_account(), read_hash(sha256), current_deadline()
    )
    return jsonify(
        photos=[
            {
                "url": url_for("photo_files.get_known_thumbnail", sha256=each.image_sha256),
                "label": each.annotation.label,
                "credit": ", ".join(filter(None, (each.holder, each.licence))),
            }
            for each in found
        ]
    )


def _read_form(queue: Queue) -> list[Decision]:
    """Read a form without scripts: what one photo shows, or that all photos are certified that nobody marked."""
    if "chosen" in request.form:
        return [Decision(each.item, queue, each.seen, "correct", each.label) for each in _read_cards("chosen")[:1]]
    marked = set(request.form.getlist("marked"))
    return [
        Decision(each.item, queue, each.seen, "certify", each.label)
        for each in _read_cards("shown")[:MAX_DECISIONS]
        if each.item not in marked and each.label
    ]


def _read_cards(field: str) -> list[_Card]:
    try:
        return [_Card.model_validate_json(each) for each in request.form.getlist(field)]
    except ValidationError as error:
        refuse_invalid(error)


def _wanted(queue: Queue) -> QueueFilter:
    batch = page_argument("batch") or ""
    batch_id = int(batch) if batch.isascii() and batch.isdigit() and len(batch) < 10 else None
    return QueueFilter(queue, page_argument("class"), batch_id)


def _read_decisions(text: str) -> DecisionsBody:
    try:
        return _Decisions.validate_json(text)
    except ValidationError as error:
        refuse_invalid(error)


def _decide(decisions: Sequence[Decision]) -> tuple[dict[str, int], list[Conflict]]:
    if len({each.item_id for each in decisions}) < len(decisions):
        raise ProblemError(422, "invalid-request", "decisions: expected one about each item, got several about one.")
    service = application_state.current()
    mirrored = service.settings.mirrored_views
    try:
        outcome = decide(current_catalog(), current_account(), decisions, mirrored, service.reader)
    except ReviewError as error:  # the forms make sure of the rest
        raise ProblemError(422, "unknown-class", str(error)) from error
    return outcome.decided, outcome.conflicts


def _address(wanted: QueueFilter) -> str:
    """Return the address of a part of a queue."""
    part = {"batch": wanted.batch_id, "class": wanted.class_name}
    return url_for("reviewing.show_queue", queue=wanted.queue, **part)  # type: ignore[arg-type]


def _choose_classes(counts: dict[str | None, int], chosen: str | None) -> dict[str, int]:
    """Return the classes that the page lists: those of most photos, and the chosen one. A field finds the others."""
    named = {name: count for name, count in counts.items() if name is not None}
    listed = dict(list(named.items())[:MOST_NAMES])
    return listed if chosen not in named else {**listed, chosen: named[chosen]}


def _choose_digits(found: ShownPage) -> dict[str, str]:
    """Return the class of each digit: the class that is named so; else the classes of most photos, then any others."""
    candidates = sorted({name for shown in found.shown for name in shown.entry.candidates}, key=search_key)
    names = dict.fromkeys([*filter(None, found.counts), *candidates, *read_reviewed_classes().names])
    own = {digit: digit for digit in string.digits if digit in names}
    free = (digit for digit in "123456789" if digit not in own)
    rest = (name for name in names if name not in own)
    return dict(sorted((own | dict(zip(free, rest, strict=False))).items()))


def _group(queue: Queue, found: ShownPage) -> list[dict[str, object]]:
    """Return the cards of a page by class, in the order of names; those without a class come last.

    Inside a class, what pays most comes first, as in the queue. Where a class goes on on the next page, its total is
    larger than the number of its cards.
    """
    by_class: dict[str | None, list[Shown]] = {}
    for shown in found.shown:
        by_class.setdefault(shown.entry.class_name, []).append(shown)
    numbers = itertools.count(1)
    return [
        {
            "name": name,
            "total": found.counts.get(name, len(by_class[name])),
            "cards": [_card(queue, shown, next(numbers)) for shown in by_class[name]],
        }
        for name in sorted(by_class, key=lambda name: (name is None, search_key(name or ""), name))
    ]


def _card(queue: Queue, shown: Shown, number: int) -> dict[str, object]:
    """Return what a card shows, and what a form without scripts sends back of it."""
    card = _Card.model_construct(item=shown.entry.item_id, seen=shown.seen, label=shown.entry.proposed or "")
    choices = {name: card.model_copy(update={"label": name}).model_dump_json() for name in shown.entry.candidates}
    return {
        **describe_entry(shown),
        "proposed": card.label,
        "choices": choices,
        "card": card.model_dump_json(),
        "facts": list_facts(shown.entry),
        "alternative": describe_photo(queue, shown.entry, number),
    }


def _tell_script(conflicts: Sequence[Conflict]) -> list[dict[str, str | None]]:
    """Return what the script tells: texts and times."""
    told = map(tell_conflict, conflicts)
    return [{"text": text, "at": None if at is None else at.isoformat(timespec="seconds")} for text, at in told]
