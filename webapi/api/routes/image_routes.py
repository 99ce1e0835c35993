"""The image files."""

from flask import Response, request
from pydantic import BaseModel

from ml.data.image_viewing import read_photo
from ml.upkeep.erasing import erase_photo
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.api.data_models import Sha256
from webapi.api.problem_answers import Problem, new_api

api = new_api("images", __name__, "data")

# An image never changes, but it can be erased, and the accounts that may see it change: the browser asks each time.
_CACHING = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_IMAGE = {
    "description": "The photo as stored: upright, without metadata",
    "content": {"image/jpeg": _BYTES, "image/png": _BYTES},
}


class ImagePath(BaseModel):
    """An image's SHA-256."""

    sha256: Sha256


@api.get("/images/<sha256>", responses={200: _IMAGE, 304: None, 404: Problem})
@requires("user")
def get_image(path: ImagePath) -> Response:
    """Return a photo. Users see photos of their own predictions, experts also those that they may judge, admins all.

    Raises: 404, there is no such image, or the account may not see it.
    """
    photo = read_photo(application_state.current_catalog(), current_account(), path.sha256)
    response = Response(photo.content, mimetype=photo.media_type, headers=_CACHING)
    response.set_etag(path.sha256)
    response.make_conditional(request)
    return response


@api.delete("/images/<sha256>", responses={204: None, 404: Problem})
@requires("user")
def delete_image(path: ImagePath) -> Response:
    """Erase a photo that the caller asked about: its bytes, thumbnail and features, and the link to the account.

    The answers stay, but anonymous. A photo that somebody else sent too stays for that person.

    Raises: 404, the caller asked about no such photo.
    """
    erase_photo(application_state.current_catalog(), current_account(), path.sha256)
    return Response(status=204)
