"""Review: grids of photos by queue and class. All that is not set aside is certified at once; a slip is undone."""

from collections.abc import Sequence
from typing import Any, get_args

from flask import Response, abort, flash, g, make_response, redirect, request, session, url_for
from flask_babel import lazy_gettext as _
from flask_babel import ngettext

from ml.data.image_viewing import read_photo
from ml.data.opinions import list_class_names, spell_class_name
from ml.data.reviewing.deciding import Conflict, Decision, decide, undo
from ml.data.reviewing.queue_reading import (
    Queue,
    QueueFilter,
    Shown,
    read_batches,
    read_counts,
    read_queue,
    read_rejects,
)
from ml.errors import CursorError
from webapi import application_state
from webapi.access.authentication import current_account
from webapi.application_state import current_catalog
from webapi.pages.form_pages import page_arguments
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.answer_pages import find_similar
from webapi.pages.page_views.photo_files import read_hash
from webapi.pages.page_words.review_words import QUEUES, REASONS

pages = new_pages("review_pages", __name__)

_PAGE_SIZE = 50  # decisions that are made at once
_DIGITS = 10
_UNDOABLE = 5  # pages of decisions: their numbers are in a cookie
_EVERY = "*"  # all classes


@pages.get("/review")
@page("expert")
def show_queues() -> Response:
    """Show the queues, and the batches that wait."""
    counts, batches = read_counts(current_catalog()), read_batches(current_catalog())
    return respond("pages/review_queues.html", counts=counts, batches=batches, queues=QUEUES)


@pages.get("/review/batches/<int:batch_id>")
@page("expert")
def show_rejects(batch_id: int) -> Response:
    """Show the files of a batch that were rejected, and why."""
    rejects = read_rejects(current_catalog(), min(batch_id, 2**63 - 1))
    return respond("pages/review_rejects.html", batch_id=batch_id, rejects=rejects)


@pages.get("/review/photos/<sha256>")
@page("expert")
def show_large(sha256: str) -> Response:
    """Show a photo large, beside the known photos that are most similar."""
    read_photo(current_catalog(), current_account(), read_hash(sha256))
    return respond("pages/review_photo.html", sha256=sha256, similar=find_similar(sha256))


@pages.get("/review/<queue>")
@page("expert")
def show_queue(queue: str) -> Response:
    """Show a page of a queue: one class at a time, the one with most photos first."""
    arguments = page_arguments()
    batch = arguments.get("batch", type=int)
    batch = batch if batch is not None and 0 < batch < 2**63 else None
    chosen = arguments.get("class")
    wanted = QueueFilter(_read_queue(queue), None if chosen in (None, "", _EVERY) else chosen, batch)
    found = _find(wanted, arguments.get("from"))
    if found.counts and (chosen is None or not (found.shown or arguments.get("from"))):  # that class is finished
        largest = max(found.counts, key=lambda name: found.counts[name])
        chosen = largest if largest is not None else _EVERY
        wanted = QueueFilter(wanted.queue, largest, batch)
        found = _find(wanted, None)
    service = application_state.current()
    model = service.models.current
    known = list_class_names(current_catalog(), () if model is None else model.card.classes, with_stated=True)
    typed = dict(g.get("typed") or ())
    return respond(
        "pages/review_queue.html",
        queue=wanted.queue,
        queues=QUEUES,
        counts=read_counts(current_catalog()),
        found=found,
        chosen=chosen or _EVERY,
        batch=batch,
        tiles=[_tile(shown, wanted.queue, typed) for shown in found.shown],
        known=known,
        digits=known[:_DIGITS],
        reasons=REASONS,
        undoable=bool(session.get("undoable")),
    )


@pages.post("/review/<queue>")
@page("expert")
def decide_queue(queue: str) -> Response:
    """Certify, correct or reject what was not set aside."""
    name = _read_queue(queue)
    known = list_class_names(current_catalog(), (), with_stated=True)
    items = [field.removeprefix("seen.") for field in request.form if field.startswith("seen.")]
    decisions = [made for item in items[:_PAGE_SIZE] if (made := _read_decision(item, name, known)) is not None]
    if decisions:
        service = application_state.current()
        outcome = decide(
            current_catalog(), current_account(), decisions, service.settings.mirrored_views, service.reader
        )
        count = len(outcome.decided)
        flash(ngettext("%(num)s photo is decided.", "%(num)s photos are decided.", count))
        _tell(outcome.conflicts)
        session["undoable"] = [*session.get("undoable", []), list(outcome.decided.values())][-_UNDOABLE:]
    else:
        flash(_("Nothing was decided: all photos are set aside."))
    return _back(queue)


@pages.post("/review/<queue>/undo")
@page("expert")
def undo_queue(queue: str) -> Response:
    """Undo what was decided last in this browser."""
    _read_queue(queue)
    undoable: list[list[int]] = session.get("undoable", [])
    if undoable:
        session["undoable"] = undoable[:-1]
        outcome = undo(current_catalog(), current_account(), undoable[-1])
        count = len(outcome.undone)
        flash(ngettext("%(num)s decision is undone.", "%(num)s decisions are undone.", count))
        _tell(outcome.conflicts)
    else:
        flash(_("There is nothing to undo."))
    return _back(queue)


def _read_queue(name: str) -> Queue:
    queue: Queue | None = next((queue for queue in get_args(Queue) if queue == name), None)
    return queue or abort(404)


def _find(wanted: QueueFilter, cursor: str | None) -> Any:
    try:
        return read_queue(current_catalog(), wanted, _PAGE_SIZE, cursor or None)
    except CursorError:  # an old or mistyped address: show the first page
        return read_queue(current_catalog(), wanted, _PAGE_SIZE, None)


def _tile(shown: Shown, queue: Queue, typed: dict[str, str]) -> dict[str, object]:
    """Return what the grid shows of an item. A rejected answer without a correction proposes nothing."""
    entry, item = shown.entry, shown.entry.item_id
    proposed = entry.corrected_label if queue == "mispredicted" else entry.proposed
    is_typed = f"seen.{item}" in typed
    return {
        "item": item,
        "entry": entry,
        "seen": shown.seen,
        "label": typed.get(f"label.{item}", proposed or ""),
        "proposed": proposed or "",
        "is_aside": f"aside.{item}" in typed if is_typed else proposed is None,
        "reason": typed.get(f"reason.{item}", ""),
        "probabilities": sorted(entry.probabilities.items(), key=lambda each: -each[1])[:3],
    }


def _read_decision(item: str, queue: Queue, known: Sequence[str]) -> Decision | None:
    fields = request.form
    if f"aside.{item}" in fields:
        return None
    seen, reason = fields[f"seen.{item}"], fields.get(f"reason.{item}", "")
    if reason:
        return Decision(item, queue, seen, "reject", reason=reason)
    label = spell_class_name(known, fields.get(f"label.{item}", "").strip())
    if not label:
        return None
    is_kept = label == fields.get(f"proposed.{item}")
    return Decision(item, queue, seen, "certify" if is_kept else "correct", label)


def _tell(conflicts: Sequence[Conflict]) -> None:
    for conflict in conflicts:
        flash(_("Somebody was faster: %(what)s", what=conflict.told))


def _back(queue: str) -> Response:
    kept: dict[str, Any] = {name: request.args[name] for name in ("class", "batch") if name in request.args}
    return make_response(redirect(url_for("review_pages.show_queue", queue=queue, **kept), 303))
