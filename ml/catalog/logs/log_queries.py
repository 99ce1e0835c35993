"""Query predictions, feedback and the audit log for people: with filters, newest first, in pages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from ml.catalog.accounts.account_names import find_logins, find_mentioned
from ml.catalog.keyset_pages import Order, read_page
from ml.catalog.tables import accounts, events, feedback, predictions, results


@dataclass(frozen=True)
class LogFilter:
    """A filter of rows. A row must match all fields that are not None; a query ignores fields that its table lacks.

    Args:
        login: of the account that made the request, gave the feedback or acted.
        event: the kind of an event, such as `image.suspended`.
        received_from: earliest time, inclusive.
        received_before: latest time, exclusive.
    """

    login: str | None = None
    model_version: int | None = None
    item_id: str | None = None
    prediction_id: int | None = None
    verdict: Literal["ok", "nok"] | None = None
    event: str | None = None
    received_from: datetime | None = None
    received_before: datetime | None = None


@dataclass(frozen=True)
class ListedPrediction:
    """One request for a prediction.

    Args:
        login: of the account that asked; None after the account is erased.
        name: the top class; None if the model found no class, or the classes of the version are unknown here.
        confidence: the model's confidence in the answer, 0 to 1.
    """

    id: int
    requested_at: datetime
    login: str | None
    item_id: str
    model_version: int
    is_cached: bool
    name: str | None
    confidence: float


@dataclass(frozen=True)
class ListedFeedback:
    """One person's feedback on a prediction."""

    id: int
    given_at: datetime
    login: str | None
    prediction_id: int
    item_id: str
    model_version: int
    verdict: str
    corrected_label: str | None


@dataclass(frozen=True)
class ListedEvent:
    """A row of the audit log. `login` is that of the account in `actor`; None if the account does not exist."""

    id: int
    happened_at: datetime
    kind: str
    actor: str
    login: str | None
    detail: dict[str, Any]


class LogPage(NamedTuple):
    """The rows of one page, and the cursor of the next page; None on the last page."""

    rows: Sequence[ListedPrediction | ListedFeedback | ListedEvent]
    next_cursor: str | None


def query_predictions(connection: sa.Connection, wanted: LogFilter, limit: int, cursor: str | None) -> LogPage:
    """Read one page of predictions.

    Raises: CursorError.
    """
    query = (
        sa.select(
            predictions.c.id,
            predictions.c.requested_at,
            accounts.c.login,
            results.c.item_id,
            results.c.model_version,
            predictions.c.is_cached,
            results.c.top_class,
            results.c.confidence,
        )
        .select_from(predictions.join(results).outerjoin(accounts))
        .where(*_shared_conditions(wanted, predictions.c.requested_at, predictions.c.account_id == _account_id(wanted)))
        .where(*_result_conditions(wanted))
    )
    page = read_page(connection, query, Order(predictions.c.requested_at, predictions.c.id), limit, cursor)
    return LogPage([ListedPrediction(*row) for row in page.rows], page.next_cursor)


def query_feedback(connection: sa.Connection, wanted: LogFilter, limit: int, cursor: str | None) -> LogPage:
    """Read one page of feedback.

    Raises: CursorError.
    """
    query = (
        sa.select(
            feedback.c.id,
            feedback.c.given_at,
            accounts.c.login,
            feedback.c.prediction_id,
            results.c.item_id,
            results.c.model_version,
            feedback.c.verdict,
            feedback.c.corrected_label,
        )
        .select_from(feedback.join(predictions, predictions.c.id == feedback.c.prediction_id).join(results))
        .outerjoin(accounts, accounts.c.id == feedback.c.account_id)
        .where(*_shared_conditions(wanted, feedback.c.given_at, feedback.c.account_id == _account_id(wanted)))
        .where(*_result_conditions(wanted))
    )
    if wanted.prediction_id is not None:
        query = query.where(feedback.c.prediction_id == wanted.prediction_id)
    if wanted.verdict is not None:
        query = query.where(feedback.c.verdict == wanted.verdict)
    page = read_page(connection, query, Order(feedback.c.given_at, feedback.c.id), limit, cursor)
    return LogPage([ListedFeedback(*row) for row in page.rows], page.next_cursor)


def query_events(connection: sa.Connection, wanted: LogFilter, limit: int, cursor: str | None) -> LogPage:
    """Read one page of the audit log.

    Raises: CursorError.
    """
    actor = sa.literal("account:") + sa.cast(_account_id(wanted), sa.Text)
    columns = (events.c.id, events.c.happened_at, events.c.kind, events.c.actor, events.c.detail)
    query = sa.select(*columns).where(*_shared_conditions(wanted, events.c.happened_at, events.c.actor == actor))
    if wanted.event is not None:
        query = query.where(events.c.kind == wanted.event)
    page = read_page(connection, query, Order(events.c.happened_at, events.c.id), limit, cursor)
    ids = {row.id: find_mentioned(row.actor) for row in page.rows}
    logins = find_logins(connection, set().union(*ids.values()))
    return LogPage(
        [
            ListedEvent(
                row.id,
                row.happened_at,
                row.kind,
                row.actor,
                next((logins[account_id] for account_id in ids[row.id] if account_id in logins), None),
                row.detail,
            )
            for row in page.rows
        ],
        page.next_cursor,
    )


def _account_id(wanted: LogFilter) -> sa.ScalarSelect[int]:
    return sa.select(accounts.c.id).where(accounts.c.login == wanted.login).scalar_subquery()


def _shared_conditions(
    wanted: LogFilter, moment: sa.Column[Any], is_own: sa.ColumnElement[bool]
) -> Iterator[sa.ColumnElement[bool]]:
    if wanted.login is not None:
        yield is_own
    if wanted.received_from is not None:
        yield moment >= wanted.received_from
    if wanted.received_before is not None:
        yield moment < wanted.received_before


def _result_conditions(wanted: LogFilter) -> Iterator[sa.ColumnElement[bool]]:
    if wanted.model_version is not None:
        yield results.c.model_version == wanted.model_version
    if wanted.item_id is not None:
        yield results.c.item_id == wanted.item_id
