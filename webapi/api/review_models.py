"""Requests and responses of the review routes, with their descriptions."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from ml.data.reviewing.deciding import Conflict, Decision
from ml.data.reviewing.queue_reading import Queue, Shown
from webapi.api.data_models import Sha256
from webapi.api.parameters import DigitsOnly, Query, Strict
from webapi.api.percent import to_percent
from webapi.api.prediction_models import Label

MAX_DECISIONS = 50
MAX_PAGE_SIZE = 200
_Number = Annotated[int, DigitsOnly]
Seen = Annotated[str, Field(pattern="^[0-9a-f]{16}$", description="`seen` of the item, as the queue gave it")]


class QueuePath(BaseModel):
    """A queue."""

    queue: Queue


class BatchPath(BaseModel):
    """A batch's number."""

    batch_id: int = Field(ge=1, lt=2**63)


class QueueQuery(Query):
    """The filters and the page."""

    class_name: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f]*$")] | None = Field(
        None, description="Only items of this class: predicted, suspected or, of items that wait, stated"
    )
    batch_id: _Number | None = Field(None, description="Only items that this batch brought")
    limit: _Number = Field(50, ge=1, le=MAX_PAGE_SIZE)
    cursor: Annotated[str, Field(max_length=500)] | None = Field(None, description="`next_cursor` of the former page")


class ProbabilityData(BaseModel):
    """A class and its probability in percent."""

    name: str
    proba: float


class EntryData(BaseModel):
    """An item in a queue. Values that a queue does not have are null."""

    item: Sha256 = Field(description="The item's id; equal to the photo's SHA-256 unless the item has a text")
    image_sha256: Sha256
    seen: str = Field(description="The item's state. A decision about the item repeats it")
    class_name: str | None = Field(description="Predicted class; suspected one; of items that wait, the stated one")
    label: str | None = Field(description="The item's present label")
    label_origin: str | None
    proposed: str | None = Field(
        description="What a person said of the item, or else what the model says unless a person rejected that"
    )
    received_at: datetime
    model_version: int | None
    margin: float | None = Field(description="Between the two most probable classes, 0 to 1")
    probabilities: list[ProbabilityData] = Field(description="The most probable classes, best first")
    login: str | None = Field(description="Who rejected the answer")
    said_at: datetime | None
    corrected_label: str | None = Field(description="What that person said it is")
    instead: str | None = Field(description="In place of a class: other, none (of the known), or unsure")
    proposed_name: str | None = Field(description="Name of the other species, as it was typed")
    candidates: list[str] = Field(description="In `disputed`, what two models say, in alphabetical order")
    doubt: float | None = Field(description="How much more probable the suspected class is than the label, 0 to 1")


class ClassCount(BaseModel):
    """A class and the number of its items in the queue."""

    class_name: str | None
    count: int


class QueueAnswer(BaseModel):
    """A page of a queue, what pays most first; no `next_cursor` on the last page. `counts` is of the whole queue."""

    items: list[EntryData]
    counts: list[ClassCount]
    next_cursor: str | None


class QueuesAnswer(BaseModel):
    """The number of items in each queue."""

    mispredicted: int = Field(description="Somebody said that the answer is wrong")
    waiting: int = Field(description="Items of sources that wait for a certificate")
    uncertain: int = Field(description="Predicted items without a label, smallest margin first")
    suspected: int = Field(description="Labels that the cross-fitted answers of the latest training contradict surely")
    disputed: int = Field(description="A sample of the uploads on which a challenger in shadow and the champion differ")


class BatchData(BaseModel):
    """A batch of a source. `state` is done, waiting or quarantined; `rejected` files are in none of the splits."""

    id: int
    source: str
    state: str
    waiting: int
    rejected: int
    ingested_at: datetime


class BatchesAnswer(BaseModel):
    """The latest batches, those with waiting items first."""

    batches: list[BatchData]


class RejectData(BaseModel):
    """A rejected file."""

    name: str
    reason: str | None = Field(description="One word")
    message: str | None


class RejectsAnswer(BaseModel):
    """The rejected files of a batch, at most 500."""

    rejects: list[RejectData]


class _ItemSeen(Strict):
    item: Sha256
    queue: Queue
    seen: Seen


class CertifyItem(_ItemSeen):
    """Certify that the item shows this, as the queue proposes."""

    decision: Literal["certify"]
    label: Label

    def decision_of(self) -> Decision:
        """Return the decision in the words of ml."""
        return Decision(self.item, self.queue, self.seen, "certify", label=self.label)


class CorrectItem(_ItemSeen):
    """Give the item another label than the queue proposes."""

    decision: Literal["correct"]
    label: Label

    def decision_of(self) -> Decision:
        """Return the decision in the words of ml."""
        return Decision(self.item, self.queue, self.seen, "correct", label=self.label)


class RejectItem(_ItemSeen):
    """Take the item out of training and evaluation for good."""

    decision: Literal["reject"]
    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]

    def decision_of(self) -> Decision:
        """Return the decision in the words of ml."""
        return Decision(self.item, self.queue, self.seen, "reject", reason=self.reason)


class DecisionsBody(Strict):
    """Decisions, each about another item. Each is made, unless somebody else decided about the item first."""

    decisions: list[Annotated[CertifyItem | CorrectItem | RejectItem, Field(discriminator="decision")]] = Field(
        min_length=1, max_length=MAX_DECISIONS
    )


class UndoBody(Strict):
    """Ids of decisions to undo."""

    ids: list[Annotated[int, Field(ge=1, lt=2**63, strict=True)]] = Field(min_length=1, max_length=MAX_DECISIONS)


class ConflictData(BaseModel):
    """An item that somebody else decided about first: who decided what, and when, in a sentence."""

    item: str
    told: str


class DecidedData(BaseModel):
    """A decision that was made. `decision` is its number, to undo it."""

    item: str
    decision: int


class DecisionsAnswer(BaseModel):
    """What was decided, and which items somebody else had decided about."""

    decided: list[DecidedData]
    conflicts: list[ConflictData]


class UndoAnswer(BaseModel):
    """What was undone, and which items were changed since."""

    undone: list[int]
    conflicts: list[ConflictData]


def describe_entry(shown: Shown, probabilities: int = 5) -> dict[str, object]:
    """Return an item of a queue as `EntryData`. Args: probabilities, the number of classes to show."""
    entry = shown.entry
    best = sorted(entry.probabilities.items(), key=lambda each: -each[1])[:probabilities]
    return {
        "item": entry.item_id,
        "image_sha256": entry.image_sha256,
        "seen": shown.seen,
        "class_name": entry.class_name,
        "label": None if entry.annotation is None else entry.annotation.label,
        "label_origin": entry.label_origin,
        "proposed": entry.proposed,
        "received_at": entry.received_at,
        "model_version": entry.model_version,
        "margin": entry.margin,
        "probabilities": [{"name": name, "proba": to_percent(share)} for name, share in best],
        "login": entry.login,
        "said_at": entry.said_at,
        "corrected_label": entry.corrected_label,
        "instead": entry.instead,
        "proposed_name": entry.proposed_name,
        "candidates": list(entry.candidates),
        "doubt": entry.doubt,
    }


def describe_conflicts(conflicts: list[Conflict]) -> list[dict[str, str]]:
    """Return conflicts as `ConflictData`."""
    return [{"item": each.item_id, "told": each.told} for each in conflicts]
