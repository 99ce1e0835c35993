"""An answer: the photo, what it shows, where the model looked, what is similar, and whether the answer is right."""

import logging
from collections.abc import Sequence
from typing import Any

from flask import Response, flash, make_response, redirect, request, url_for
from flask_babel import lazy_gettext as _

from ml.data.class_lists.class_search import ClassSearch
from ml.data.feedback import Effect
from ml.data.opinions import judge_prediction
from ml.errors import FeedbackError, MycoflowError
from ml.reporting.answered_photos.shown_answers import ShownAnswer, list_names, read_answer
from ml.serving.explaining.activation_maps import Mapper
from webapi import application_state
from webapi.access import maintenance_gate
from webapi.access.authentication import current_account
from webapi.pages.form_pages import prefill
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.class_pages import MOST_NAMES, served_classes
from webapi.pages.page_views.naming_forms import OpinionForm
from webapi.problems import ProblemError
from webapi.request_deadlines import current_deadline

pages = new_pages("answers", __name__)
_logger = logging.getLogger(__name__)

_SHOWN_CLASSES = 5
_UNKNOWN = _("Nobody has used this name yet. Check its spelling, or say below that it is another species.")
_THANKS: dict[Effect, Any] = {
    "confirmed": _("Thank you. Your word counts as the label of this photo: the next training learns from it."),
    "suspended": _("Thank you. Models learn nothing from this photo until an expert has looked at it."),
    "recorded": _("Thank you. Your answer is stored with the photo, and experts see it when they review."),
}


@pages.get("/answers/<int:prediction_id>")
@page("user")
def show_answer(prediction_id: int) -> Response:
    """Show an answer, and ask whether it is right."""
    return _show(_read(prediction_id), OpinionForm(formdata=prefill()))


@pages.post("/answers/<int:prediction_id>")
@page("user")
def judge_answer(prediction_id: int) -> Response:
    """Take what a person says of an answer."""
    form = OpinionForm()
    if not form.validate():
        return _show(_read(prediction_id), form, 422)
    service = application_state.current()
    shown = _read(prediction_id)
    label, name = (_spell(typed, shown) for typed in (form.corrected_label, form.proposed_name))
    try:
        _feedback_id, effect = judge_prediction(
            application_state.current_catalog(),
            prediction_id,
            current_account(),
            form.verdict.data,
            label,
            service.settings.mirrored_views,
            served=_served(),
            reader=service.reader,
            instead=form.instead,
            proposed_name=name,
        )
    except FeedbackError as error:
        if label is None or shown.answer.top_class == label:
            raise ProblemError(422, "same-class", str(error)) from error
        form.label.errors = [_UNKNOWN]
        known = _classes()
        return _show(shown, form, 422, known.list_matches(label, MOST_NAMES) or known.list_near(label, MOST_NAMES))
    service.metrics.predictions.count_feedback(form.verdict.data)
    flash(_THANKS[effect])
    return make_response(redirect(url_for("answers.show_answer", prediction_id=prediction_id), 303))


@pages.get("/answers/<int:prediction_id>/map")
@page("user")
def get_map(prediction_id: int) -> Response:
    """Draw where the model saw a class: by default the first one of the answer."""
    maintenance_gate.refuse_in_maintenance()
    service = application_state.current()
    mapper = Mapper(
        application_state.current_catalog(),
        service.admission,
        service.models.demand_current(),
        current_account(),
        current_deadline(),
    )
    picture = mapper.draw(prediction_id, request.args.get("class") or None)
    return Response(picture, mimetype="image/png", headers={"Cache-Control": "private, no-cache"})


def find_similar(sha256: str) -> list[Any]:
    """Return the known photos that are most similar, if they can be had now: an answer is worth showing without."""
    service = application_state.current()
    catalog, model = application_state.current_catalog(), service.models.current
    try:
        return list(service.similar.find(catalog, model, current_account(), sha256, current_deadline()))
    except MycoflowError as error:
        _logger.warning("No similar photos are shown: %s", error)
        return []


def _read(prediction_id: int) -> ShownAnswer:
    return read_answer(application_state.current_catalog(), current_account(), prediction_id, _served())


def _classes(is_missing: bool = False) -> ClassSearch:
    known = application_state.current().classes
    return known.read(application_state.current_catalog(), served_classes(), is_missing=is_missing)


def _spell(typed: str | None, shown: ShownAnswer) -> str | None:
    """Return the known name that a person meant, whatever the case and the blanks; else the name as it was typed."""
    if typed is None:
        return None
    found = _classes().find(typed) or ClassSearch(shown.classes or ()).find(typed)
    return found or _classes(is_missing=True).find(typed) or typed


def _show(shown: ShownAnswer, form: OpinionForm, status: int = 200, near: Sequence[str] = ()) -> Response:
    service = application_state.current()
    model = None if maintenance_gate.current().is_on() else service.models.current  # then it draws no map
    return respond(
        "pages/answer.html",
        status,
        shown=shown,
        form=form,
        names=list_names(shown, service.settings.task, _SHOWN_CLASSES),
        near=near,
        has_map=model is not None and model.version == shown.model_version and model.draws_maps,
        similar=[] if shown.image_sha256 is None else find_similar(shown.image_sha256),
    )


def _served() -> dict[int, list[str]]:
    model = application_state.current().models.current
    return {} if model is None else {model.version: list(model.card.classes)}
