"""What comes and goes over the routes of the data, and how it is described."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from ml.catalog.images.image_queries import HeldBack, ImageFilter, LabelOrigin
from ml.data.data_changes import Action, Change
from webapi.api.parameters import DigitsOnly, Query
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


class ImagesQuery(Query):
    """Which images, and which page of them."""

    label: _Text | None = None
    origin: LabelOrigin | None = Field(None, description="Who says so")
    split: Literal["pool", "evaluation", "none"] | None = Field(None, description="`none`: only predicted")
    held_back: HeldBack | None = Field(None, description="Why it is not used: in doubt, out, uncertified, a copy")
    received_from: _Moment | None = Field(None, description="No earlier")
    received_before: _Moment | None = Field(None, description="Earlier")
    limit: Annotated[int, DigitsOnly] = Field(100, ge=1, le=MAX_PAGE_SIZE)
    cursor: Annotated[str, Field(max_length=500)] | None = Field(None, description="The page before's `next_cursor`")

    @property
    def wanted(self) -> ImageFilter:
        """What the parameters but limit and cursor say."""
        return ImageFilter(**{name: getattr(self, name) for name in ImageFilter.__dataclass_fields__})


class ListedImageData(BaseModel):
    """One image; width and height in pixels."""

    model_config = ConfigDict(from_attributes=True)

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

    model_config = ConfigDict(from_attributes=True)

    images: list[ListedImageData]
    next_cursor: str | None


class _StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Certify(_StrictModel):
    """The label that the image has is right."""

    action: Literal["certify"]
    sha256: Sha256

    @property
    def change(self) -> Change:
        return Change("certify", self.sha256)


class Relabel(_StrictModel):
    """The image shows something else."""

    action: Literal["relabel"]
    sha256: Sha256
    label: Label

    @property
    def change(self) -> Change:
        return Change("relabel", self.sha256, self.label)


class Exclude(_StrictModel):
    """No model is to learn from the image or be measured on it."""

    action: Literal["exclude"]
    sha256: Sha256

    @property
    def change(self) -> Change:
        return Change("exclude", self.sha256)


class ChangesBody(_StrictModel):
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
