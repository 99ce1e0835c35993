"""Name a photo."""

from flask import Response, make_response, redirect, request, url_for

from ml.serving.loaded_model import MAX_IMAGE_BYTES
from ml.serving.prediction_store import Prediction
from webapi import application_state
from webapi.access.maintenance_gate import refuse_in_maintenance
from webapi.api.predicting import count_answer, current_predictor
from webapi.pages.form_pages import prefill
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.naming_forms import NamingForm
from webapi.problems import ProblemError

pages = new_pages("naming", __name__)


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
    return make_response(redirect(url_for("answers.show_answer", prediction_id=prediction.id), 303))


def _predict(form: NamingForm) -> Prediction:
    predictor = current_predictor(application_state.current().models.demand_current())
    chosen = next((file for file in request.files.getlist("file") if file.filename), None)  # there are two fields
    if chosen is not None:
        return predictor.predict_upload(chosen.read())
    if form.url.data and form.url.data.strip():
        return predictor.predict_url(form.url.data.strip())
    raise ProblemError(422, "missing-file", "Expected a file or an address, got neither.")
