"""Start a training or register a model through Airflow, and follow the run."""

from typing import Any

from flask import Response, make_response, redirect, url_for
from flask_babel import gettext as _

from ml.reporting.inventory import list_models
from ml.reporting.requested_figures import count_tunable_layers
from webapi.access.authentication import current_actor
from webapi.application_state import current_airflow, current_catalog, current_workspace
from webapi.pages.form_pages import page_argument, prefill
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.model_choice.followed_runs import DagId, read_run
from webapi.pages.page_views.model_choice.training_forms import FinetuneForm, RegisterForm, RetrainForm

pages = new_pages("training", __name__)

_Form = RetrainForm | FinetuneForm | RegisterForm


@pages.get("/trainings/retrain")
@page("admin")
def show_retrain() -> Response:
    """Show the form of a retraining."""
    return _show("versions/retrain.html", RetrainForm(formdata=prefill()))


@pages.post("/trainings/retrain")
@page("admin")
def retrain() -> Response:
    """Start a retraining."""
    return _start("retrain", "versions/retrain.html", RetrainForm())


@pages.get("/trainings/finetune")
@page("admin")
def show_finetune() -> Response:
    """Show the form of a fine-tuning."""
    return _show("versions/finetune.html", _finetune_form(formdata=prefill()))


@pages.post("/trainings/finetune")
@page("admin")
def finetune() -> Response:
    """Start a fine-tuning."""
    form = _finetune_form()
    if form.validate():
        tunable = count_tunable_layers(current_catalog(), form.model_version.data)
        if tunable is not None and form.layers.data > tunable:
            form.layers.errors = [_("This model has %(count)s layers that can be trained.", count=tunable)]
            return _show("versions/finetune.html", form, 422)
    return _start("finetune", "versions/finetune.html", form)


@pages.get("/trainings/register")
@page("admin")
def show_register() -> Response:
    """Show the form that registers a run's model."""
    return _show("versions/register.html", RegisterForm(formdata=prefill()))


@pages.post("/trainings/register")
@page("admin")
def register() -> Response:
    """Start the registration of a run's model."""
    return _start("register_model", "versions/register.html", RegisterForm())


@pages.get("/runs/<any(retrain, finetune, register_model, tune_hyperparameters, monitor_production):dag_id>")
@page("admin")
def show_run(dag_id: DagId) -> Response:
    """Show how far a run is. A script reads the page again and again until the run ends."""
    return respond("versions/run.html", followed=read_run(dag_id))


def _finetune_form(**options: Any) -> FinetuneForm:
    form = FinetuneForm(**options)
    models = list_models(current_workspace())
    form.model_version.choices = [(model.version, str(model.version)) for model in models]
    if not form.is_submitted() and not form.model_version.data:
        asked = page_argument("version") or ""
        champion = next((model.version for model in models if model.is_champion), None)
        form.model_version.data = int(asked) if asked.isascii() and asked.isdigit() else champion
    return form


def _show(template: str, form: _Form, status: int = 200) -> Response:
    return respond(template, status, form=form)


def _start(dag_id: DagId, template: str, form: _Form) -> Response:
    if not form.validate():
        return _show(template, form, 422)
    run = current_airflow().trigger(dag_id, form.conf(current_actor()))
    return make_response(redirect(url_for("training.show_run", dag_id=dag_id, run=run.dag_run_id), 303))
