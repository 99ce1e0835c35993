"""My photos: what I asked about, what was said, what I said; and deleting one."""

from typing import get_args

from flask import Response, flash, make_response, redirect, url_for
from flask_babel import lazy_gettext as _

from ml.data.class_lists.class_search import ClassSearch
from ml.data.image_viewing import find_photo
from ml.errors import CursorError
from ml.reporting.answered_photos.own_photos import OwnPhotoFilter, Said, list_own_classes, list_own_photos
from webapi import application_state
from webapi.access.authentication import current_account
from webapi.api.routes.image_routes import erase_own_photo
from webapi.pages.form_pages import page_argument
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.photo_files import read_hash
from webapi.request_deadlines import current_deadline

pages = new_pages("own_photos", __name__)

_PAGE_SIZE = 24
_MOST_LISTED = 100  # species; beyond, a field finds them


@pages.get("/photos")
@page("user")
def show_photos() -> Response:
    """Show the photos of this account, newest first."""
    catalog, account = application_state.current_catalog(), current_account()
    species, typed = list_own_classes(catalog, account), page_argument("species")
    name = None if typed is None else ClassSearch(species).find(typed) or typed
    wanted = OwnPhotoFilter(name, _said(page_argument("said")))
    try:
        found = list_own_photos(catalog, account, wanted, _PAGE_SIZE, page_argument("from"))
    except CursorError:  # an old or mistyped address: show the newest photos
        found = list_own_photos(catalog, account, wanted, _PAGE_SIZE, None)
    is_first = page_argument("from") is None
    return respond(
        "pages/photos.html", found=found, wanted=wanted, species=species, most_listed=_MOST_LISTED, is_first=is_first
    )


@pages.get("/photos/<sha256>/delete")
@page("user")
def ask_to_delete(sha256: str) -> Response:
    """Ask whether a photo shall be deleted."""
    service, catalog = application_state.current(), application_state.current_catalog()
    photo = find_photo(catalog, current_account(), read_hash(sha256))
    service.thumbnails.read(photo, current_deadline())  # which the page shows
    return respond("pages/delete_photo.html", sha256=sha256)


@pages.post("/photos/<sha256>/delete")
@page("user")
def delete_photo(sha256: str) -> Response:
    """Delete a photo for good."""
    erase_own_photo(read_hash(sha256))
    flash(_("The photo is deleted."))
    return make_response(redirect(url_for("own_photos.show_photos"), 303))


def _said(text: str | None) -> Said | None:
    return next((said for said in get_args(Said) if said == text), None)
