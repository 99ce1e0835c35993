"""Requests and responses of the routes for prediction batches, with their descriptions."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from ml.serving.photo_batches.batch_results import BatchResult, PhotoState, ResultFilter, Shown
from ml.serving.photo_batches.own_batches import BatchState, BatchSummary
from ml.serving.photo_batches.zip_contents import MOST_PHOTOS
from webapi.api.parameters import DigitsOnly, Query, Strict
from webapi.api.percent import to_percent
from webapi.api.prediction_models import Label, Url


class UrlsBody(Strict):
    """Photos by their URLs."""

    urls: Annotated[list[Url], Field(min_length=1, max_length=MOST_PHOTOS)]


class PredictionBatchPath(BaseModel):
    """A batch's number."""

    prediction_batch_id: int = Field(ge=1, lt=2**63)


class ResultsQuery(Query):
    """Filters and page of the photos of a batch."""

    shown: Shown | None = Field(None, description="The state, or `novel`: like none of the known classes")
    label: Label | None = Field(None, description="The top class")
    after: Annotated[int, DigitsOnly] = Field(0, ge=0, description="`number` of the last photo of the former page")
    limit: Annotated[int, DigitsOnly] = Field(MOST_PHOTOS, ge=1, le=MOST_PHOTOS)

    @property
    def wanted(self) -> ResultFilter:
        """Return the filters."""
        return ResultFilter(self.shown, self.label)


class PredictionBatchData(BaseModel):
    """A batch: how far it is. `named` photos have an answer; `photos` are all, also erased ones."""

    id: int
    name: str = Field(description="File name of the ZIP; empty for URLs")
    state: BatchState
    created_at: datetime
    finished_at: datetime | None
    photos: int
    waiting: int
    named: int
    failed: int
    skipped: int


class PredictionBatchesAnswer(BaseModel):
    """The latest batches of the caller, newest first."""

    batches: list[PredictionBatchData]


class BatchPhotoData(BaseModel):
    """A photo of a batch. `name` is the top class, `proba` its probability in percent; null without an answer."""

    number: int = Field(description="From 1, as in the ZIP or in the list")
    file: str = Field(description="Its name in the ZIP, or its URL")
    state: PhotoState
    problem: str | None = Field(description="The kind of problem, as POST /predictions would name it")
    prediction_id: int | None
    image_sha256: str | None
    model_version: int | None
    name: str | None
    proba: float | None
    is_novel: bool | None


class BatchPhotosAnswer(BaseModel):
    """Photos of a batch, in its order."""

    photos: list[BatchPhotoData]


ZIP_OR_URLS: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "A ZIP of up to 1000 photos"}
                },
            }
        },
        "application/json": {"schema": UrlsBody.model_json_schema()},
    },
}
RESULTS_CSV = {
    "description": "A line for each photo, after a line of column names. A cell that a spreadsheet would take for a "
    "formula begins with an apostrophe",
    "content": {"text/csv": {"schema": {"type": "string"}}},
}


def describe_batch(batch: BatchSummary) -> dict[str, Any]:
    """Return a batch as JSON."""
    return PredictionBatchData(
        id=batch.id,
        name=batch.name,
        state=batch.state,
        created_at=batch.created_at,
        finished_at=batch.finished_at,
        photos=batch.total,
        waiting=batch.waiting,
        named=batch.named,
        failed=batch.failed,
        skipped=batch.skipped,
    ).model_dump(mode="json")


def describe_photo(photo: BatchResult) -> dict[str, Any]:
    """Return a photo of a batch as JSON."""
    return BatchPhotoData(
        number=photo.number,
        file=photo.name,
        state=photo.state,
        problem=photo.problem,
        prediction_id=photo.prediction_id,
        image_sha256=photo.image_sha256,
        model_version=photo.model_version,
        name=photo.top_class,
        proba=None if photo.confidence is None else to_percent(photo.confidence),
        is_novel=photo.is_novel,
    ).model_dump(mode="json")
