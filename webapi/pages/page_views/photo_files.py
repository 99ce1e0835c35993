"""Photos and thumbnails for the pages. Who may see a photo is decided at each request."""

import re

from flask import Response, request

from ml.data.image_viewing import read_photo
from ml.errors import UnknownImageError
from webapi import application_state
from webapi.access.authentication import current_account
from webapi.pages.page_blueprints import new_pages, page
from webapi.request_deadlines import current_deadline

pages = new_pages("photo_files", __name__)

# The browser keeps it, but asks each time: a photo can be erased, and a browser may have several users.
_CACHING = {"Cache-Control": "private, no-cache", "Vary": "Cookie"}


@pages.get("/photos/<sha256>/photo")
@page("user")
def get_photo(sha256: str) -> Response:
    """Return a photo."""
    photo = read_photo(application_state.current_catalog(), current_account(), read_hash(sha256))
    return _with_tag(Response(photo.content, mimetype=photo.media_type, headers=_CACHING), sha256)


@pages.get("/photos/<sha256>/thumbnail")
@page("user")
def get_thumbnail(sha256: str) -> Response:
    """Return a thumbnail, with the rights of its photo."""
    service = application_state.current()
    content = service.thumbnails.read(
        application_state.current_catalog(), current_account(), read_hash(sha256), current_deadline()
    )
    return _with_tag(Response(content, mimetype="image/jpeg", headers=_CACHING), f"{sha256}-small")


@pages.get("/known/<sha256>/thumbnail")
@page("user")
def get_known_thumbnail(sha256: str) -> Response:
    """Return a thumbnail of a known photo that came with the data: everybody may see those."""
    service = application_state.current()
    content = service.thumbnails.read_known(application_state.current_catalog(), read_hash(sha256), current_deadline())
    return _with_tag(Response(content, mimetype="image/jpeg", headers=_CACHING), f"{sha256}-small")


def _with_tag(response: Response, tag: str) -> Response:
    response.set_etag(tag)
    response.make_conditional(request)
    return response


def read_hash(text: str) -> str:
    """Return the hash in an address.

    Raises: UnknownImageError, it is none.
    """
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise UnknownImageError("Expected the hash of an image that you may see, got another.")
    return text
