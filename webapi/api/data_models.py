"""What comes and goes over the routes of the data, and how it is described."""

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
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="Of the bytes as received")]


def _check_moment(value: object) -> object:
    """pydantic takes numbers too, as seconds since 1970."""
    if isinstance(value, str) and not re.match(r"[0-9]{4}-", value):
        raise ValueError("expected a date, a time and its zone, such as 2026-01-31T12:00:00Z")
    return value


def _to_utc(value: datetime) -> datetime:
    """PostgreSQL knows no zone beyond 16 hours; RFC 3339 does."""
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
    """What to look through, which of it, and which page. Each filter is for the kinds that its description names."""

    kind: Literal["images", "predictions", "feedback", "events"] = "images"
    label: _Text | None = Field(None, description="Images")
    origin: LabelOrigin | None = Field(None, description="Images: who says so")
    split: Literal["pool", "evaluation", "none"] | None = Field(None, description="Images; `none`: only predicted")
    held_back: HeldBack | None = Field(
        None, description="Images: why it is not used: in doubt, taken out, uncertified, a copy, or described anew"
    )
    login: _Text | None = Field(None, description="Predictions, feedback, events: of whom. For admins")
    model_version: _Number | None = Field(None, description="Predictions, feedback")
    sha256: Sha256 | None = Field(None, description="Predictions, feedback: of which image")
    prediction_id: _Number | None = Field(None, description="Feedback")
    verdict: Verdict | None = Field(None, description="Feedback")
    event: _Text | None = Field(None, description="Events: of which kind, such as `image.suspended`")
    received_from: _Moment | None = Field(None, description="No earlier")
    received_before: _Moment | None = Field(None, description="Earlier")
    limit: _Number = Field(100, ge=1, le=MAX_PAGE_SIZE)
    cursor: Annotated[str, Field(max_length=500)] | None = Field(None, description="The page before's `next_cursor`")

    @property
    def misplaced(self) -> str | None:
        """A filter that this kind does not have, if one was given."""
        return min(self.model_fields_set - _OF_ALL - _OF_KIND[self.kind], default=None)

    @property
    def images(self) -> ImageFilter:
        """What the parameters say of images."""
        known = {name: getattr(self, name) for name in ImageFilter.__dataclass_fields__ if name != "class_name"}
        return ImageFilter(class_name=self.label, **known)

    @property
    def logs(self) -> LogFilter:
        """What the parameters say of predictions, feedback and events."""
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
    """One request for a prediction; `proba` is the first name's, in percent. `login`: for admins."""

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
    """What somebody said of a prediction. `login`: for admins."""

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
    """A line of the audit log; `login` is the account's in `actor`, while there is one."""

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
    """A page of the kind that was asked for."""


class Certify(Strict):
    """The label that the image has is right."""

    action: Literal["certify"]
    sha256: Sha256

    def change(self, _: AnnotationReader) -> Change:
        return Change("certify", self.sha256)


class Relabel(Strict):
    """The image shows something else."""

    action: Literal["relabel"]
    sha256: Sha256
    label: Label

    def change(self, reader: AnnotationReader) -> Change:
        return Change("relabel", self.sha256, reader.read_label(self.label))


class Exclude(Strict):
    """No model is to learn from the image or be measured on it."""

    action: Literal["exclude"]
    sha256: Sha256

    def change(self, _: AnnotationReader) -> Change:
        return Change("exclude", self.sha256)


class ChangesBody(Strict):
    """Changes, made in their order; all of them or none."""

    changes: list[Annotated[Certify | Relabel | Exclude, Field(discriminator="action")]] = Field(
        min_length=1, max_length=MAX_CHANGES
    )


class ImageStateData(BaseModel):
    """What a change is about."""

    label: str | None
    label_origin: str | None
    split: str | None
    held_back: str | None


class ChangedData(BaseModel):
    """How one change went."""

    sha256: str
    action: Action
    is_changed: bool
    before: ImageStateData
    after: ImageStateData


class ChangesAnswer(BaseModel):
    """One entry for each change, in their order."""

    changes: list[ChangedData]
