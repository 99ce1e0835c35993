"""Requests and responses of the data routes, with their descriptions."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, RootModel

from ml.catalog.annotations import AnnotationReader
from ml.data.data_changes import Action, Change
from ml.data.feedback import Verdict
from ml.reporting.browsing import HeldBack, ImageFilter, LabelOrigin, LogFilter
from webapi.api.parameters import DigitsOnly, Query, Strict
from webapi.api.prediction_models import Label

MAX_CHANGES = 500
MAX_PAGE_SIZE = 500
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the image's bytes as received")]


def _check_moment(value: object) -> object:
    """Refuse numbers, which pydantic reads as seconds since 1970."""
    if isinstance(value, str) and not re.match(r"[0-9]{4}-", value):
        raise ValueError("expected a date, a time and its zone, such as 2026-01-31T12:00:00Z")
    return value


def _to_utc(value: datetime) -> datetime:
    """Convert to UTC: RFC 3339 allows zones beyond 16 hours, but PostgreSQL does not."""
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("expected a moment between the years 1 and 9999 in UTC") from error


_Moment = Annotated[AwareDatetime, BeforeValidator(_check_moment), AfterValidator(_to_utc)]
_Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")]


_OF_ALL = frozenset({"kind", "received_from", "received_before", "limit", "cursor"})
_OF_KIND: dict[str, frozenset[str]] = {
    "images": frozenset({"label", "origin", "split", "held_back"}),
    "predictions": frozenset({"login", "model_version", "sha256"}),
    "feedback": frozenset({"login", "model_version", "sha256", "prediction_id", "verdict"}),
    "events": frozenset({"login", "event"}),
}
_Number = Annotated[int, DigitsOnly]


class DataQuery(Query):
    """The kind of data, the filters and the page. Each filter is for the kinds that its description names."""

    kind: Literal["images", "predictions", "feedback", "events"] = "images"
    label: _Text | None = Field(None, description="Images")
    origin: LabelOrigin | None = Field(None, description="Images: origin of the label")
    split: Literal["pool", "evaluation", "none"] | None = Field(None, description="Images; `none`: only predicted")
    held_back: HeldBack | None = Field(
        None, description="Images: why it is not used: in doubt, excluded, uncertified, a copy, or superseded"
    )
    login: _Text | None = Field(None, description="Predictions, feedback, events: login of the account. For admins")
    model_version: _Number | None = Field(None, description="Predictions, feedback")
    sha256: Sha256 | None = Field(None, description="Predictions, feedback: SHA-256 of the image")
    prediction_id: _Number | None = Field(None, description="Feedback")
    verdict: Verdict | None = Field(None, description="Feedback")
    event: _Text | None = Field(None, description="Events: kind of event, such as `image.suspended`")
    received_from: _Moment | None = Field(None, description="At this time or later")
    received_before: _Moment | None = Field(None, description="Before this time")
    limit: _Number = Field(100, ge=1, le=MAX_PAGE_SIZE)
    cursor: Annotated[str, Field(max_length=500)] | None = Field(None, description="`next_cursor` of the former page")

    @property
    def misplaced(self) -> str | None:
        """Return a filter that was given but that this kind does not have; None if there is none."""
        return min(self.model_fields_set - _OF_ALL - _OF_KIND[self.kind], default=None)

    @property
    def images(self) -> ImageFilter:
        """Return the filters for images."""
        known = {name: getattr(self, name) for name in ImageFilter.__dataclass_fields__ if name != "class_name"}
        return ImageFilter(class_name=self.label, **known)

    @property
    def logs(self) -> LogFilter:
        """Return the filters for predictions, feedback and events."""
        known = {name: getattr(self, name) for name in LogFilter.__dataclass_fields__ if name != "item_id"}
        return LogFilter(item_id=self.sha256, **known)


class ListedImageData(BaseModel):
    """One image; width and height in pixels."""

    sha256: str
    label: str | None
    label_origin: str | None
    split: str | None
    evaluation_part: str | None
    held_back: str | None
    source: str
    width: int
    height: int
    received_at: datetime
    entered_pool_at: datetime | None


class ImagesPage(BaseModel):
    """A page, the newest first; no `next_cursor` on the last one."""

    images: list[ListedImageData]
    next_cursor: str | None


class ListedPredictionData(BaseModel):
    """A prediction. `name` is the top class, `proba` its probability in percent. Only admins see `login`."""

    id: int
    requested_at: datetime
    login: str | None
    image_sha256: str
    model_version: int
    is_cached: bool
    name: str | None
    proba: float


class PredictionsPage(BaseModel):
    """A page, the newest first; no `next_cursor` on the last one."""

    predictions: list[ListedPredictionData]
    next_cursor: str | None


class ListedFeedbackData(BaseModel):
    """Feedback on a prediction. Only admins see `login`."""

    id: int
    given_at: datetime
    login: str | None
    prediction_id: int
    image_sha256: str
    model_version: int
    verdict: Verdict
    corrected_label: str | None


class FeedbackPage(BaseModel):
    """A page, the newest first; no `next_cursor` on the last one."""

    feedback: list[ListedFeedbackData]
    next_cursor: str | None


class ListedEventData(BaseModel):
    """An entry of the audit log. `login` belongs to the account in `actor`, as long as the account exists."""

    id: int
    happened_at: datetime
    kind: str
    actor: str
    login: str | None
    detail: dict[str, Any]


class EventsPage(BaseModel):
    """A page, the newest first; no `next_cursor` on the last one."""

    events: list[ListedEventData]
    next_cursor: str | None


class DataPage(RootModel[ImagesPage | PredictionsPage | FeedbackPage | EventsPage]):
    """A page of the requested kind."""


class Certify(Strict):
    """Confirm that the image's label is right."""

    action: Literal["certify"]
    sha256: Sha256

    def change(self, _: AnnotationReader) -> Change:
        return Change("certify", self.sha256)


class Relabel(Strict):
    """Give the image another label."""

    action: Literal["relabel"]
    sha256: Sha256
    label: Label

    def change(self, reader: AnnotationReader) -> Change:
        return Change("relabel", self.sha256, reader.read_label(self.label))


class Exclude(Strict):
    """Exclude the image from training and evaluation."""

    action: Literal["exclude"]
    sha256: Sha256

    def change(self, _: AnnotationReader) -> Change:
        return Change("exclude", self.sha256)


class ChangesBody(Strict):
    """Changes, applied in this order: all of them or none."""

    changes: list[Annotated[Certify | Relabel | Exclude, Field(discriminator="action")]] = Field(
        min_length=1, max_length=MAX_CHANGES
    )


class ImageStateData(BaseModel):
    """The attributes of an image that a change affects."""

    label: str | None
    label_origin: str | None
    split: str | None
    held_back: str | None


class ChangedData(BaseModel):
    """The result of one change."""

    sha256: str
    action: Action
    is_changed: bool
    before: ImageStateData
    after: ImageStateData


class ChangesAnswer(BaseModel):
    """One entry for each change, in the order of the request."""

    changes: list[ChangedData]
