"""Requests and responses of the routes for predictions and feedback, with their descriptions."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from ml.data.feedback import Effect, Instead, Verdict
from webapi.api.parameters import DigitsOnly, Query, Strict

FEEDBACK_RELATION = "urn:mycoflow:relation:feedback"
NameCount = Annotated[int, Field(ge=1, description="Number of class names, best first"), DigitsOnly]
Url = Annotated[str, Field(max_length=4096, description="URL of the image: http or https")]
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]


class NamesQuery(Query):
    """An image by its URL."""

    file: Url
    nb_preds: NameCount = 1


class CountQuery(Query):
    """Number of class names. A value in the body overrides it."""

    nb_preds: NameCount = 1


class UrlBody(CountQuery):
    """An image by its URL."""

    url: Url


class Name(BaseModel):
    """A class name and its probability in percent."""

    name: str
    proba: float


PREDICTION_HEADERS = {
    "Prediction-Id": {"description": "The prediction's id", "schema": {"type": "integer"}},
    "Link": {
        "description": f'Where to send feedback: `<path>; rel="{FEEDBACK_RELATION}"` (RFC 8288)',
        "schema": {"type": "string"},
    },
}


class Names(RootModel[list[Name]]):
    """Class names, best first. The headers give the prediction's id, because this body cannot."""

    model_config = ConfigDict(openapi_extra={"headers": PREDICTION_HEADERS})  # type: ignore[typeddict-unknown-key]


class ModelName(BaseModel):
    """The model version that answered."""

    name: str
    version: int


class PredictionAnswer(BaseModel):
    """A prediction. `id` belongs to this request; `cached` is true if the result was already stored."""

    model_config = ConfigDict(openapi_extra={"headers": PREDICTION_HEADERS})  # type: ignore[typeddict-unknown-key]

    id: int
    model: ModelName
    cached: bool
    novelty: float | None = Field(
        description="How unlike all known classes the image is. Above 1, it seems to show none. Null: not measured"
    )
    is_novel: bool
    results: list[Name]


class PredictionPath(BaseModel):
    """A prediction's id."""

    prediction_id: int = Field(description="The id from POST /predictions")


class MapQuery(Query):
    """The class to show."""

    model_config = ConfigDict(serialize_by_alias=True)

    class_name: Annotated[
        str | None,
        Field(
            alias="class",
            min_length=1,
            max_length=200,
            pattern=r"^[^\x00-\x1f]*$",
            description="A class of the model; by default the first one of the answer",
        ),
    ] = None


HEAT_MAP = {
    "description": "Where the model saw the class: transparent where nothing speaks for it. The picture has the "
    "proportions of the photo, and lies exactly over it",
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
}


class FeedbackBody(Strict):
    """Whether the top class was right, and if not, the right class, or what is known in its place."""

    verdict: Verdict
    corrected_label: Label | None = Field(None, description="Only with `nok`: a class name of a model or an image")
    instead: Instead | None = Field(
        None,
        description="Only with `nok` and without `corrected_label`: the image shows another class than the known ones, "
        "none, or the person is unsure",
    )
    proposed_name: Label | None = Field(None, description="Only with `instead: other`: the name of that class")


class FeedbackAnswer(BaseModel):
    """The effect: `confirmed` a label, `suspended` the model's own label until it is certified, or only `recorded`."""

    id: int
    effect: Effect


UPLOAD_OR_URL: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "The image"},
                    **CountQuery.model_json_schema()["properties"],
                },
            }
        },
        "application/json": {"schema": UrlBody.model_json_schema()},
    },
}
