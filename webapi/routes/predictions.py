"""What is on this picture?"""

import re
from collections.abc import Sequence

import numpy as np
from flask import Response, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from ml.model.registry import MODEL_NAME
from webapi import service
from webapi.auth import current_account, requires
from webapi.model_host import ServedModel
from webapi.predicting import predict
from webapi.problems import Problem, ProblemError, unavailable

api = APIBlueprint("predictions", __name__, abp_tags=[Tag(name="predictions")])


class Name(BaseModel):
    """A class and its probability."""

    name: str
    proba: float = Field(description="Percent, two decimals")


class AnsweringModel(BaseModel):
    """Which model said so."""

    name: str
    version: int


class PredictionAnswer(BaseModel):
    """One answered request."""

    id: int
    model: AnsweringModel
    cached: bool = Field(description="The result of this image and model version was known already")
    results: list[Name] = Field(description="Best first")


_UPLOAD = {
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "The image, 4 MB at most"},
                    "nb_preds": {"type": "integer", "minimum": 1, "default": 1, "description": "How many names"},
                },
            }
        }
    }
}


@api.post(
    "/predictions",
    responses={200: PredictionAnswer, 413: Problem, 415: Problem},
    openapi_extensions={"requestBody": _UPLOAD},
)
@requires("user")
def post_prediction() -> Response:
    """Name what an uploaded image shows. `nb_preds` may come as a query parameter too."""
    name_count = _read_name_count()
    content = _read_file()
    model = service.current().models.current
    if model is None:
        raise unavailable("no-model", "No model version is in production yet. Train one, then try again.")
    _check_name_count(name_count, model)
    prediction = predict(service.current().database.catalog(), model, content, account_id=current_account().id)
    return jsonify(
        id=prediction.id,
        model={"name": MODEL_NAME, "version": model.version},
        cached=prediction.is_cached,
        results=best_names(model.classifier.card.classes, prediction.probabilities, name_count),
    )


def best_names(classes: Sequence[str], probabilities: Sequence[float], count: int) -> list[dict[str, object]]:
    """The most probable names, best first, with their probabilities in percent, two decimals."""
    best = np.argsort(-np.asarray(probabilities), kind="stable")[:count]
    return [{"name": classes[index], "proba": round(100 * probabilities[index], 2)} for index in best]


def _read_name_count() -> int:
    text = request.values.get("nb_preds", "1")
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        raise _wrong_name_count(f"expected a positive integer, got {text[:40]!r}")
    return int(text)


def _check_name_count(count: int, model: ServedModel) -> None:
    class_count = len(model.classifier.card.classes)
    if count > class_count:
        raise _wrong_name_count(f"expected at most {class_count}, the classes of the model, got {count}")


def _wrong_name_count(what: str) -> ProblemError:
    return ProblemError(422, "invalid-nb-preds", f"nb_preds: {what}.")


def _read_file() -> bytes:
    file = request.files.get("file")
    if file is None:
        raise ProblemError(422, "missing-file", "file: expected an image in this field of a multipart form, got none.")
    content: bytes = file.read()
    return content
