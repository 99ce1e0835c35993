"""Name many photos: send a ZIP or a list of addresses, and see the batches that were sent before."""

from flask import Response, make_response, redirect, request, url_for
from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import TextAreaField

from ml.serving.photo_batches.batch_intake import MOST_ARCHIVE_BYTES
from ml.serving.photo_batches.own_batches import list_batches
from ml.serving.photo_batches.zip_contents import MOST_PHOTOS
from webapi.access.authentication import current_account
from webapi.access.large_uploads import takes_large_uploads
from webapi.access.maintenance_gate import refuse_in_maintenance
from webapi.api.routes.batch_routes import MOST_LISTED, take_addresses, take_archive
from webapi.application_state import current_catalog
from webapi.pages.form_pages import prefill
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.problems import ProblemError

pages = new_pages("many", __name__)


class ManyForm(FlaskForm):  # type: ignore[misc]
    """Addresses of photos: the page has a field for a ZIP beside them."""

    urls = TextAreaField(_("Addresses of photos"))


@pages.get("/many")
@page("user")
def show_many() -> Response:
    """Show the form for many photos, and the latest batches."""
    return respond(
        "pages/many.html",
        form=ManyForm(formdata=prefill()),
        batches=list_batches(current_catalog(), current_account(), MOST_LISTED),
        most_bytes=MOST_ARCHIVE_BYTES,
        most_photos=MOST_PHOTOS,
    )


@pages.post("/many")
@takes_large_uploads(MOST_ARCHIVE_BYTES)
@page("user")
def send_many() -> Response:
    """Take in many photos. Then show how far they are."""
    refuse_in_maintenance()
    archive = request.files.get("file")
    addresses = [line.strip() for line in (ManyForm().urls.data or "").splitlines() if line.strip()]
    if archive is not None and archive.filename:
        batch_id = take_archive()
    elif addresses:
        batch_id = take_addresses(addresses)
    else:
        raise ProblemError(422, "missing-archive", "Expected a ZIP or addresses, got neither.")
    return make_response(redirect(url_for("batches_of_photos.show_batch", prediction_batch_id=batch_id), 303))
