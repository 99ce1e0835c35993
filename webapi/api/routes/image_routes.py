"""The photos themselves."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel

from ml.catalog.object_store import image_key
from ml.data.image_viewing import find_media_type
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.api.data_models import Sha256
from webapi.problems import Problem, ProblemError
from webapi.request_deadlines import begin_until, current_deadline

api = APIBlueprint("images", __name__, abp_tags=[Tag(name="data")])

# An image never changes, but who may see it may.
_CACHING = {"Cache-Control": "private, max-age=3600", "Vary": "Authorization"}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_IMAGE = {
    "description": "The photo as it is stored: upright, without its metadata",
    "content": {"image/jpeg": _BYTES, "image/png": _BYTES},
}


class ImagePath(BaseModel):
    """Which image."""

    sha256: Sha256


@api.get("/images/<sha256>", responses={200: _IMAGE, 404: Problem})
@requires("user")
def get_image(path: ImagePath) -> Response:
    """Give a photo: to users those they asked about, to experts what they may judge, to admins all.

    Raises: 404, there is no such image, or it is none that one may see.
    """
    catalog = application_state.current().database.catalog()
    with begin_until(catalog, current_deadline()) as connection:
        media_type = find_media_type(connection, current_account(), path.sha256)
    if media_type is None:
        raise ProblemError(404, "unknown-image", "Expected the hash of an image that you may see, got another.")
    return Response(catalog.store.get(image_key(path.sha256)), mimetype=media_type, headers=_CACHING)
