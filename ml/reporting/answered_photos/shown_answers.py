"""Read one answer, to show it to a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import is_not_erased
from ml.catalog.tables import feedback, items, predictions, results
from ml.data.feedback import Instead, Verdict, find_classes, may_certify
from ml.errors import UnknownPredictionError
from ml.tasks.registered_tasks import find_task

_MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class GivenOpinion:
    """What a person said last of an answer."""

    verdict: Verdict
    corrected_label: str | None
    instead: Instead | None
    proposed_name: str | None
    given_at: datetime


@dataclass(frozen=True)
class ShownAnswer:
    """One request of a person, and the answer.

    Args:
        is_own: the reader asked.
        classes: of the version that answered, in the order of the probabilities; None if they are unknown here.
        opinion: what the reader said last; None if nothing yet.
        image_sha256: of the photo; None if it is erased.
    """

    id: int
    requested_at: datetime
    is_own: bool
    model_version: int
    classes: Sequence[str] | None
    answer: Answer
    opinion: GivenOpinion | None
    image_sha256: str | None


def read_answer(
    catalog: Catalog, reader: Account, prediction_id: int, served: Mapping[int, Sequence[str]]
) -> ShownAnswer:
    """Read the answer of one prediction. Users see their own, experts and admins all.

    Args: served, version -> classes, of versions that the catalog may not know.
    Raises: UnknownPredictionError, there is none, or the reader may not see it; DatabaseUnavailableError.
    """
    with catalog.begin() as connection:
        row = connection.execute(_select(prediction_id)).one_or_none() if 0 < prediction_id <= _MAX_ID else None
        if row is None or not (row.account_id == reader.id or may_certify(reader)):
            raise UnknownPredictionError("Expected the id of a prediction that you may see, got another.")
        classes = find_classes(connection, row.model_version) or served.get(row.model_version)
        opinion = _read_opinion(connection, reader, prediction_id)
    answer = Answer(
        row.top_class, row.confidence, row.margin, np.asarray(row.probabilities, np.float32), row.novelty, row.answer
    )
    is_own = row.account_id == reader.id
    return ShownAnswer(row.id, row.requested_at, is_own, row.model_version, classes, answer, opinion, row.image_sha256)


def list_names(shown: ShownAnswer, task: str, count: int) -> list[dict[str, object]]:
    """Return the classes of an answer, best first, as the task writes them; none if the classes are unknown here.

    Args: task, the setting; count, the maximum number of classes.
    """
    return find_task(task).encode(shown.answer, shown.classes, count) if shown.classes else []


def _select(prediction_id: int) -> sa.Select[tuple[object, ...]]:
    return (
        sa.select(
            predictions.c.id,
            predictions.c.account_id,
            predictions.c.requested_at,
            results.c.model_version,
            results.c.top_class,
            results.c.confidence,
            results.c.margin,
            results.c.probabilities,
            results.c.novelty,
            results.c.answer,
            sa.case((is_not_erased(), items.c.image_sha256)).label("image_sha256"),
        )
        .select_from(predictions.join(results).join(items))
        .where(predictions.c.id == prediction_id)
    )


def _read_opinion(connection: sa.Connection, reader: Account, prediction_id: int) -> GivenOpinion | None:
    query = (
        sa.select(
            feedback.c.verdict,
            feedback.c.corrected_label,
            feedback.c.instead,
            feedback.c.proposed_name,
            feedback.c.given_at,
        )
        .where(feedback.c.prediction_id == prediction_id, feedback.c.account_id == reader.id)
        .order_by(feedback.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else GivenOpinion(*row)
