"""Batches of the sources: what came, what waits, and the decision about a whole batch."""

from typing import Literal

from flask import Response, flash, make_response, redirect, url_for
from flask_babel import gettext as _

from ml.data.data_changes import Action, settle_batches
from ml.data.reviewing.queue_reading import read_batches, read_source_batch
from webapi import application_state
from webapi.access.authentication import current_actor
from webapi.application_state import current_catalog
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond

pages = new_pages("source_batches", __name__)

Settlement = Literal["certify", "reject"]
_DECISION = "/house/batches/<int:batch_id>/<any(certify, reject):settlement>"
_ACTIONS: dict[Settlement, Action] = {"certify": "certify", "reject": "exclude"}


@pages.get("/house/batches")
@page("admin")
def show_batches() -> Response:
    """Show the batches, those with photos that wait first."""
    return respond("pages/source_batches.html", batches=read_batches(current_catalog()))


@pages.get(_DECISION)
@page("admin")
def ask_to_settle(batch_id: int, settlement: Settlement) -> Response:
    """Ask whether a whole batch shall be certified or rejected."""
    batch = read_source_batch(current_catalog(), batch_id)
    return respond("pages/settle_batch.html", batch=batch, settlement=settlement)


@pages.post(_DECISION)
@page("admin")
def settle_batch(batch_id: int, settlement: Settlement) -> Response:
    """Certify the photos of a batch that wait, or exclude all that it brought."""
    mirrored = application_state.current().settings.mirrored_views
    count = settle_batches(current_catalog(), [batch_id], _ACTIONS[settlement], current_actor(), mirrored)
    if settlement == "certify":
        flash(_("Photos of batch %(number)s that are certified: %(count)s", number=batch_id, count=count))
    else:
        flash(_("Photos of batch %(number)s that are excluded: %(count)s", number=batch_id, count=count))
    return make_response(redirect(url_for("source_batches.show_batches"), 303))
