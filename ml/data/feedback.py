"""What people say of predictions: a certified label from those who may say so, a proposal from everybody else."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.annotations import Annotation, label_of
from ml.catalog.locks import lock_membership
from ml.catalog.tables import feedback, item_classes, items, model_versions, predictions, results
from ml.data.membership import confirm, read_states, suspend

Verdict = Literal["ok", "nok"]
Effect = Literal["confirmed", "suspended", "recorded"]
_CERTIFIERS = ("expert", "admin")
_MAX_ID = 2**63 - 1


@dataclass(frozen=True)
class StoredPrediction:
    """A prediction that was given.

    Args:
        account_id: who asked; None once that account is erased.
        best_index: of the most probable class, in the order of the version's classes.
    """

    id: int
    account_id: int | None
    item_id: str
    model_version: int
    best_index: int


@dataclass(frozen=True)
class Opinion:
    """What somebody says of a prediction.

    Args:
        predicted: the name that the prediction gave first.
        corrected: all that the item shows, if a `nok` comes with it.
    """

    verdict: Verdict
    predicted: str
    corrected: Annotation | None

    @property
    def label(self) -> str | None:
        """What the item shows, in this opinion; None where it says only what it does not show."""
        return self.predicted if self.verdict == "ok" else label_of(self.corrected)

    def contradicts(self, annotation: Annotation) -> bool:
        """Whether an annotation is wrong if this opinion is right."""
        names = set(annotation.class_names)
        if self.verdict == "ok":
            return self.predicted not in names
        right = set() if self.corrected is None else set(self.corrected.class_names)
        return not right <= names or self.predicted in names - right


def may_certify(account: Account) -> bool:
    """Whether an account's word makes a confirmed label."""
    return account.role in _CERTIFIERS


def find_prediction(connection: sa.Connection, prediction_id: int) -> StoredPrediction | None:
    """A prediction by its id, if there is one."""
    if not 0 < prediction_id <= _MAX_ID:
        return None
    query = (
        sa.select(
            predictions.c.id,
            predictions.c.account_id,
            results.c.item_id,
            results.c.model_version,
            results.c.probabilities,
        )
        .join(results)
        .where(predictions.c.id == prediction_id)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    best_index = row.probabilities.index(max(row.probabilities))
    return StoredPrediction(row.id, row.account_id, row.item_id, row.model_version, best_index)


def find_classes(connection: sa.Connection, model_version: int) -> list[str] | None:
    """The classes of a registered model version, in the order of its probabilities."""
    query = sa.select(model_versions.c.classes).where(model_versions.c.version == model_version)
    return connection.execute(query).scalar_one_or_none()


def is_known_label(connection: sa.Connection, label: str) -> bool:
    """Whether some model version has this class, or some item by more than a source's word."""
    is_class = sa.exists().where(model_versions.c.classes.any(label))
    is_label = sa.exists().where(
        item_classes.c.class_name == label, item_classes.c.item_id == items.c.id, items.c.label_origin != "stated"
    )
    found: bool = connection.execute(sa.select(is_class | is_label)).scalar_one()
    return found


def known_labels(connection: sa.Connection) -> set[str]:
    """All labels that is_known_label knows."""
    names = sa.func.unnest(items.c.class_names)
    of_items = sa.select(names).where(items.c.label_origin != "stated").distinct()
    of_models = sa.select(sa.func.unnest(model_versions.c.classes))
    return set(connection.scalars(of_items)) | set(connection.scalars(of_models))


def give_feedback(
    connection: sa.Connection,
    prediction: StoredPrediction,
    account: Account,
    opinion: Opinion,
    mirrored: bool,
    is_exclusive: bool,
) -> tuple[int, Effect]:
    """Record an opinion, and let it do what this account's word can do.

    What an expert or admin says that an item shows becomes a confirmed label. Anything else is a proposal: it takes a
    harvested label that it contradicts out of the pool until somebody certifies it, and never touches a label of a
    person. Where an item may have several classes, one name that is right does not say what else the item shows: it
    confirms a label that has it, and is a proposal otherwise.

    Args:
        mirrored: whether a mirror image is a copy.
        is_exclusive: whether an item has one class.
    Returns: the feedback's id, and what it did.
    """
    feedback_id: int = connection.execute(
        sa.insert(feedback)
        .values(
            prediction_id=prediction.id,
            account_id=account.id,
            verdict=opinion.verdict,
            corrected_label=label_of(opinion.corrected),
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
    """Return all that an item shows if an opinion is right, which is what is known if both agree.

    Returns: None where the opinion does not say all.
    """
    known = read_states(connection, [item_id])[item_id].annotation
    if opinion.label is not None and known is not None and not opinion.contradicts(known):
        return known
    if opinion.verdict == "ok":
        return Annotation((opinion.predicted,)) if is_exclusive else None
    return opinion.corrected


def _suspend(connection: sa.Connection, item_id: str, opinion: Opinion, prediction_id: int, actor: str) -> bool:
    lock_membership(connection, "pool")
    state = read_states(connection, [item_id])[item_id]
    is_guess = state.label_origin == "harvested" and state.held_back is None
    if not is_guess or state.annotation is None or not opinion.contradicts(state.annotation):
        return False
    suspend(connection, [item_id], actor, proposed=opinion.label, prediction_id=prediction_id)
    return True
