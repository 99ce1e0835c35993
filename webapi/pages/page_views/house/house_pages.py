"""The house: maintenance, alerts, backups, checks, and the ways to accounts and batches."""

from flask import Response, flash, make_response, redirect, request, url_for
from flask_babel import gettext as _

from ml.data.reviewing.queue_reading import read_batches
from ml.reporting.house_facts.house_state import read_house
from webapi import application_state
from webapi.access import maintenance_gate
from webapi.access.authentication import current_actor
from webapi.application_state import current_catalog
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_words.house_words import alert_page, alert_words

pages = new_pages("house", __name__)

_ALERTS = 20


@pages.get("/house")
@page("admin")
def show_house() -> Response:
    """Show the state of the house."""
    catalog = current_catalog()
    batches = read_batches(catalog)
    return respond(
        "pages/house.html",
        house=read_house(catalog, application_state.current().settings, _ALERTS),
        in_maintenance=maintenance_gate.current().is_on(),
        waiting=[batch for batch in batches if batch.waiting],
        batch_count=len(batches),
        alert_words=alert_words,
        alert_page=alert_page,
    )


@pages.get("/house/maintenance")
@page("admin")
def ask_to_switch() -> Response:
    """Ask whether maintenance mode shall begin or end."""
    return respond("pages/maintenance.html", in_maintenance=maintenance_gate.current().is_on())


@pages.post("/house/maintenance")
@page("admin")
def switch_maintenance() -> Response:
    """Begin or end maintenance mode. The form names the wanted state: an old page does not turn it round."""
    is_on = request.form.get("to") == "on"
    maintenance_gate.current().switch(is_on, current_actor())
    flash(_("Maintenance has begun: photos are not named.") if is_on else _("Maintenance is over."))
    return make_response(redirect(url_for("house.show_house"), 303))
