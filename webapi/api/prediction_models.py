"""What comes and goes over the routes of predictions and feedback, and how it is described."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

from ml.data.feedback import Effect, Verdict
from webapi.api.parameters import DigitsOnly, Query, Strict

FEEDBACK_RELATION = "urn:mycoflow:relation:feedback"
NameCount = Annotated[int, Field(ge=1, description="How many names, best first"), DigitsOnly]
Url = Annotated[str, Field(max_length=4096, description="Where the image is: http or https")]
Label = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]*$")]


class NamesQuery(Query):
    """An image by its URL."""

    file: Url
    nb_preds: NameCount = 1


class CountQuery(Query):
    """How many names; what the body says goes first."""

    nb_preds: NameCount = 1


class UrlBody(CountQuery):
    """An image by its URL."""

    url: Url


class Name(BaseModel):
    """A name, and how probable it is, in percent."""

    name: str
    proba: float


PREDICTION_HEADERS = {
    "Prediction-Id": {"description": "The prediction's id", "schema": {"type": "integer"}},
    "Link": {
        "description": f'Where to say whether it is right: `<path>; rel="{FEEDBACK_RELATION}"` (RFC 8288)',
        "schema": {"type": "string"},
    },
}


class Names(RootModel[list[Name]]):
    """Best first. The headers name the prediction, for this body has no room."""

    model_config = ConfigDict(openapi_extra={"headers": PREDICTION_HEADERS})  # type: ignore[typeddict-unknown-key]


class ModelName(BaseModel):
    """The model version that answered."""

    name: str
    version: int


class PredictionAnswer(BaseModel):
    """A prediction: `id` is this request's; `cached` says whether the result was known already."""

    model_config = ConfigDict(openapi_extra={"headers": PREDICTION_HEADERS})  # type: ignore[typeddict-unknown-key]

    id: int
    model: ModelName
    cached: bool
    results: list[Name]


class PredictionPath(BaseModel):
    """Which prediction."""

    prediction_id: int = Field(description="As POST /predictions gave it")


class FeedbackBody(Strict):
    """Whether the first name was right, and if not, which one is."""

    verdict: Verdict
    corrected_label: Label | None = Field(None, description="With `nok` only: a name that a model or an image has")


class FeedbackAnswer(BaseModel):
    """What the feedback did: `confirmed` a label, `suspended` the model's own until it is certified, or neither."""

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
