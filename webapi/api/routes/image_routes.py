"""The image files."""

from collections.abc import Callable, Mapping

from flask import Response, jsonify, request
from pydantic import BaseModel, Field

from ml.data.image_viewing import Photo, find_known_photo, find_photo
from ml.upkeep.erasing import erase_photo
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.api.data_models import Sha256
from webapi.api.problem_answers import Problem, new_api
from webapi.request_deadlines import current_deadline

api = new_api("images", __name__, "data")

# An image never changes, but it can be erased, and the accounts that may see it change: the browser asks each time.
_CACHING = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_IMAGE = {
    "description": "The photo as stored: upright, without metadata",
    "content": {"image/jpeg": _BYTES, "image/png": _BYTES},
}


class SimilarPhotoAnswer(BaseModel):
    """A known photo."""

    sha256: Sha256
    label: str
    licence: str | None = Field(description="Null for a photo that came with the data without rights")
    holder: str | None = Field(description="Whom to credit")
    similarity: float = Field(description="Cosine of the angle between the features of both photos; 1 for equal ones")


class SimilarAnswer(BaseModel):
    """Known photos, the most similar first."""

    photos: list[SimilarPhotoAnswer]


class ImagePath(BaseModel):
    """An image's SHA-256."""

    sha256: Sha256


@api.get("/images/<sha256>", responses={200: _IMAGE, 304: None, 404: Problem})
@requires("user")
def get_image(path: ImagePath) -> Response:
    """Return a photo. Users see photos of their own predictions, experts also those that they may judge, admins all.

    Raises: 404, there is no such image, or the account may not see it.
    """
    return _send(path, find_photo(application_state.current_catalog(), current_account(), path.sha256))


@api.get("/known-photos/<sha256>", responses={200: _IMAGE, 304: None, 404: Problem})
@requires("user")
def get_known_photo(path: ImagePath) -> Response:
    """Return a photo that `/images/{sha256}/similar` may list: of the pool, with a person's label, sent by no account.

    Raises: 404, there is no such photo.
    """
    return _send(path, find_known_photo(application_state.current_catalog(), path.sha256))


def _send(path: ImagePath, photo: Photo) -> Response:
    return answer_if_changed(photo.media_type, path.sha256, _CACHING, photo.read)


def answer_if_changed(media_type: str, tag: str, headers: Mapping[str, str], read: Callable[[], bytes]) -> Response:
    """Return the bytes of a picture, or 304 without reading them if the browser has those with this tag."""
    response = Response(mimetype=media_type, headers=headers)
    response.set_etag(tag)
    response.make_conditional(request)
    if response.status_code == 200:
        response.set_data(read())
    return response


@api.get("/images/<sha256>/similar", responses={200: SimilarAnswer, 404: Problem})
@requires("user")
def get_similar_photos(path: ImagePath) -> Response:
    """Return up to six known photos that are the most similar to a photo that the caller may see.

    They have a person's label, and came with the data or from a source with a licence. The list is empty where the
    database has no pgvector, and before the first index.

    Raises: 404, there is no such image, or the account may not see it.
    """
    service = application_state.current()
    catalog, model = application_state.current_catalog(), service.models.current
    found = service.similar.find(catalog, model, current_account(), path.sha256, current_deadline())
    return jsonify(
        photos=[
            {
                "sha256": each.image_sha256,
                "label": each.annotation.label,
                "licence": each.licence,
                "holder": each.holder,
                "similarity": round(each.similarity, 4),
            }
            for each in found
        ]
    )


@api.delete("/images/<sha256>", responses={204: None, 404: Problem})
@requires("user")
def delete_image(path: ImagePath) -> Response:
    """Erase a photo that the caller asked about: its bytes, thumbnail and features, and the link to the account.

    The answers stay, but anonymous. A photo that somebody else sent too stays for that person.

    Raises: 404, the caller asked about no such photo.
    """
    erase_own_photo(path.sha256)
    return Response(status=204)


def erase_own_photo(sha256: str) -> None:
    """Erase a photo that the caller asked about, also from memory.

    Raises: the errors of `erase_photo`; where the bytes could not be deleted, the thumbnail is gone all the same.
    """
    try:
        erase_photo(application_state.current_catalog(), current_account(), sha256)
    finally:
        application_state.current().thumbnails.forget(sha256)
