"""Feedback on predictions. An expert's or admin's label becomes a confirmed label; a user's label is a proposal."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.annotations import Annotation, label_of
from ml.catalog.items.item_classes import list_item_classes
from ml.catalog.locks import lock_membership
from ml.catalog.tables import feedback, item_classes, items, model_versions, predictions, results
from ml.data.membership import confirm, read_states, suspend

Verdict = Literal["ok", "nok"]
Effect = Literal["confirmed", "suspended", "recorded"]
Instead = Literal["other", "none", "unsure"]
_CERTIFIERS = ("expert", "admin")
_MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class StoredPrediction:
    """A stored prediction.

    Args:
        account_id: of the account that asked; None after the account is erased.
        top_class: the class with the highest score; None if the model found no class.
    """

    id: int
    account_id: int | None
    item_id: str
    model_version: int
    top_class: str | None


@dataclass(frozen=True)
class Opinion:
    """One person's opinion on a prediction.

    Args:
        predicted: the first class of the answer; None if the answer has no class.
        corrected: all that the item shows, optional with `nok`.
        instead: with `nok` and without `corrected`: it shows another class than the known ones, none, or the person is
            unsure.
        proposed_name: the name of that other class, as the person wrote it. Nothing learns from it.
    """

    verdict: Verdict
    predicted: str | None
    corrected: Annotation | None
    instead: Instead | None = None
    proposed_name: str | None = None

    @property
    def label(self) -> str | None:
        """The item's label according to this opinion; None if the opinion only rejects the predicted class."""
        return self.predicted if self.verdict == "ok" else label_of(self.corrected)

    def contradicts(self, annotation: Annotation) -> bool:
        """Return whether an annotation is wrong if this opinion is right."""
        names = set(annotation.class_names)
        if self.verdict == "ok":
            return self.predicted is not None and self.predicted not in names
        right = set() if self.corrected is None else set(self.corrected.class_names)
        return not right <= names or self.predicted in names - right


def may_certify(account: Account) -> bool:
    """Return whether the labels of an account become confirmed labels."""
    return account.role in _CERTIFIERS


def find_prediction(connection: sa.Connection, prediction_id: int) -> StoredPrediction | None:
    """Return the prediction with this id, or None."""
    if not 0 < prediction_id <= _MAX_ID:
        return None
    query = (
        sa.select(
            predictions.c.id,
            predictions.c.account_id,
            results.c.item_id,
            results.c.model_version,
            results.c.top_class,
        )
        .join(results)
        .where(predictions.c.id == prediction_id)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else StoredPrediction(*row)


def find_classes(connection: sa.Connection, model_version: int) -> list[str] | None:
    """Return the classes of a registered model version in the order of its probabilities, or None."""
    query = sa.select(model_versions.c.classes).where(model_versions.c.version == model_version)
    return connection.execute(query).scalar_one_or_none()


def is_known_label(connection: sa.Connection, label: str) -> bool:
    """Return whether a model version has this class, or an item has it in an annotation not only stated by a source."""
    is_class = sa.exists().where(model_versions.c.classes.any(label))
    is_label = sa.exists().where(
        item_classes.c.class_name == label, item_classes.c.item_id == items.c.id, items.c.label_origin != "stated"
    )
    found: bool = connection.execute(sa.select(is_class | is_label)).scalar_one()
    return found


def known_labels(connection: sa.Connection) -> set[str]:
    """Return all labels for which is_known_label is true."""
    of_items = {name for name, is_said in list_item_classes(connection).items() if is_said}
    return of_items.union(connection.scalars(sa.select(sa.func.unnest(model_versions.c.classes)).distinct()))


def list_spellings(connection: sa.Connection) -> list[str]:
    """Return the names of all classes: first those that are known labels, then those that only sources state."""
    known = sorted(known_labels(connection))
    return known + sorted(list_item_classes(connection).keys() - known)


def give_feedback(
    connection: sa.Connection,
    prediction: StoredPrediction,
    account: Account,
    opinion: Opinion,
    mirrored: bool,
    is_exclusive: bool,
) -> tuple[int, Effect]:
    """Record an opinion, and apply it.

    What an expert or admin says that an item shows becomes a confirmed label. Any other opinion is a proposal: if it
    contradicts a harvested label, the item leaves the pool until somebody certifies it. A proposal never changes a
    person's label. If an item may have several classes, one right class does not say what else the item shows: it
    confirms a label that has this class, and is a proposal otherwise.

    Args:
        mirrored: whether a mirror image is a copy.
        is_exclusive: whether an item has exactly one class.
    Returns: the feedback's id, and its effect.
    """
    lock_membership(connection, "pool")  # first: the feedback changes the review queues, as every decision does
    feedback_id: int = connection.execute(
        sa.insert(feedback)
        .values(
            prediction_id=prediction.id,
            account_id=account.id,
            verdict=opinion.verdict,
            corrected_label=label_of(opinion.corrected),
            instead=opinion.instead,
            proposed_name=opinion.proposed_name,
        )
        .returning(feedback.c.id)
    ).scalar_one()
    return feedback_id, _apply(connection, prediction, account, opinion, mirrored, is_exclusive)


def _apply(
    connection: sa.Connection,
    prediction: StoredPrediction,
    account: Account,
    opinion: Opinion,
    mirrored: bool,
    is_exclusive: bool,
) -> Effect:
    item_id, actor = prediction.item_id, actor_name(account)
    annotation = _annotation(connection, item_id, opinion, is_exclusive) if may_certify(account) else None
    if annotation is not None:
        return "confirmed" if confirm(connection, item_id, annotation, actor, mirrored) else "recorded"
    return "suspended" if _suspend(connection, item_id, opinion, prediction.id, actor) else "recorded"


def _annotation(connection: sa.Connection, item_id: str, opinion: Opinion, is_exclusive: bool) -> Annotation | None:
    """Return the annotation to confirm: the item's own annotation if the opinion agrees with it, else the opinion's.

    Returns: None if the opinion does not say all that the item shows.
    """
    known = read_states(connection, [item_id])[item_id].annotation
    if opinion.label is not None and known is not None and not opinion.contradicts(known):
        return known
    if opinion.verdict == "ok":
        return Annotation((opinion.predicted,)) if is_exclusive and opinion.predicted is not None else None
    return opinion.corrected


def _suspend(connection: sa.Connection, item_id: str, opinion: Opinion, prediction_id: int, actor: str) -> bool:
    lock_membership(connection, "pool")
    state = read_states(connection, [item_id])[item_id]
    is_disputable = state.label_origin == "harvested" and state.held_back is None
    if not is_disputable or state.annotation is None or not opinion.contradicts(state.annotation):
        return False
    suspend(connection, [item_id], actor, proposed=opinion.label, prediction_id=prediction_id)
    return True
