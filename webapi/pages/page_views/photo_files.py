"""Photos and thumbnails for the pages. Who may see a photo is decided at each request."""

import re

from flask import Response

from ml.data.image_viewing import Photo, find_known_photo, find_photo
from ml.errors import UnknownImageError
from webapi import application_state
from webapi.access.authentication import current_account
from webapi.api.routes.image_routes import answer_if_changed
from webapi.application_state import current_catalog
from webapi.pages.page_blueprints import new_pages, page
from webapi.request_deadlines import current_deadline

pages = new_pages("photo_files", __name__)

# The browser keeps it, but asks each time: a photo can be erased, and a browser may have several users.
_CACHING = {"Cache-Control": "private, no-cache", "Vary": "Cookie"}


@pages.get("/photos/<sha256>/photo")
@page("user")
def get_photo(sha256: str) -> Response:
    """Return a photo."""
    photo = find_photo(current_catalog(), current_account(), read_hash(sha256))
    return answer_if_changed(photo.media_type, sha256, _CACHING, photo.read)


@pages.get("/photos/<sha256>/thumbnail")
@page("user")
def get_thumbnail(sha256: str) -> Response:
    """Return a thumbnail, with the rights of its photo."""
    return _send_thumbnail(find_photo(current_catalog(), current_account(), read_hash(sha256)))


@pages.get("/known/<sha256>/thumbnail")
@page("user")
def get_known_thumbnail(sha256: str) -> Response:
    """Return a thumbnail of a known photo that came with the data: everybody may see those."""
    return _send_thumbnail(find_known_photo(current_catalog(), read_hash(sha256)))


def _send_thumbnail(photo: Photo) -> Response:
    thumbnails, deadline = application_state.current().thumbnails, current_deadline()
    tag = f"{photo.sha256}-small"
    return answer_if_changed("image/jpeg", tag, _CACHING, lambda: thumbnails.read(photo, deadline))


def read_hash(text: str) -> str:
    """Return the hash in an address.

    Raises: UnknownImageError, it is none.
    """
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise UnknownImageError("Expected the hash of an image that you may see, got another.")
    return text
