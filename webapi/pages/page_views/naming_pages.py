"""Name a photo, and say whether the answer is right."""

from typing import Any

from flask import Response, flash, make_response, redirect, request, url_for
from flask_babel import lazy_gettext as _

from ml.data.feedback import Effect
from ml.data.opinions import judge_prediction, list_class_names
from ml.reporting.answered_photos.shown_answers import ShownAnswer, list_names, read_answer
from ml.serving.loaded_model import MAX_IMAGE_BYTES
from ml.serving.prediction_store import Prediction
from webapi import application_state
from webapi.access.authentication import current_account
from webapi.access.maintenance_gate import refuse_in_maintenance
from webapi.api.predicting import count_answer, current_predictor
from webapi.pages.form_pages import prefill
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.naming_forms import NamingForm, OpinionForm
from webapi.problems import ProblemError

pages = new_pages("naming", __name__)

_SHOWN_CLASSES = 5
_THANKS: dict[Effect, Any] = {
    "confirmed": _("Thank you. Your word counts as the label of this photo: the next training learns from it."),
    "suspended": _("Thank you. Models learn nothing from this photo until an admin has looked at it."),
    "recorded": _("Thank you. Your answer is stored with the photo, and experts see it when they review."),
}


@pages.get("/")
@page("user")
def show_naming() -> Response:
    """Show the form for a photo."""
    return respond("pages/naming.html", form=NamingForm(formdata=prefill()), most_bytes=MAX_IMAGE_BYTES)


@pages.post("/")
@page("user")
def name_photo() -> Response:
    """Name a photo: a file, or the photo at an address. Then show the answer."""
    form = NamingForm()
    refuse_in_maintenance()
    prediction = _predict(form)
    count_answer(prediction)
    return make_response(redirect(url_for("naming.show_answer", prediction_id=prediction.id), 303))


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
    _feedback_id, effect = judge_prediction(
        application_state.current_catalog(),
        prediction_id,
        current_account(),
        form.verdict.data,
        form.corrected_label,
        service.settings.mirrored_views,
        served=_served(),
        reader=service.reader,
        instead=form.instead,
        proposed_name=form.proposed_name,
    )
    service.metrics.predictions.count_feedback(form.verdict.data)
    flash(_THANKS[effect])
    return make_response(redirect(url_for("naming.show_answer", prediction_id=prediction_id), 303))


def _predict(form: NamingForm) -> Prediction:
    predictor = current_predictor(application_state.current().models.demand_current())
    content = next((content for file in request.files.getlist("file") if (content := file.read())), None)
    if content is not None:
        return predictor.predict_upload(content)
    if form.url.data and form.url.data.strip():
        return predictor.predict_url(form.url.data.strip())
    raise ProblemError(422, "missing-file", "Expected a file or an address, got neither.")


def _read(prediction_id: int) -> ShownAnswer:
    return read_answer(application_state.current_catalog(), current_account(), prediction_id, _served())


def _show(shown: ShownAnswer, form: OpinionForm, status: int = 200) -> Response:
    names = list_names(shown, application_state.current().settings.task, _SHOWN_CLASSES)
    known = list_class_names(application_state.current_catalog(), shown.classes or ())
    return respond("pages/answer.html", status, shown=shown, names=names, known=known, form=form)


def _served() -> dict[int, list[str]]:
    model = application_state.current().models.current
    return {} if model is None else {model.version: list(model.card.classes)}
