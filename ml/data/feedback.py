"""What people say of predictions: a certified label from those who may say so, a proposal from everybody else."""

from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from ml.catalog.accounts.personal_data import actor_name
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.locks import lock_membership
from ml.catalog.tables import feedback, images, model_versions, predictions, results
from ml.data.membership import confirm, suspend

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
    image_sha256: str
    model_version: int
    best_index: int


@dataclass(frozen=True)
class Opinion:
    """What somebody says of a prediction.

    Args:
        predicted: the name that the prediction gave first.
        corrected: the right one, if a `nok` comes with it.
    """

    verdict: Verdict
    predicted: str
    corrected: str | None

    @property
    def label(self) -> str | None:
        """What the image shows, in this opinion; None where it says only what it does not show."""
        return self.predicted if self.verdict == "ok" else self.corrected

    def contradicts(self, label: str) -> bool:
        """Whether a label is wrong if this opinion is right."""
        return self.predicted == label if self.label is None else self.label != label


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
            results.c.image_sha256,
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
    return StoredPrediction(row.id, row.account_id, row.image_sha256, row.model_version, best_index)


def find_classes(connection: sa.Connection, model_version: int) -> list[str] | None:
    """The classes of a registered model version, in the order of its probabilities."""
    query = sa.select(model_versions.c.classes).where(model_versions.c.version == model_version)
    return connection.execute(query).scalar_one_or_none()


def is_known_label(connection: sa.Connection, label: str) -> bool:
    """Whether some model version has this label, or some image by more than a source's word."""
    is_class = sa.exists().where(model_versions.c.classes.any(label))
    is_label = sa.exists().where(images.c.label == label, images.c.label_origin != "stated")
    found: bool = connection.execute(sa.select(is_class | is_label)).scalar_one()
    return found


def known_labels(connection: sa.Connection) -> set[str]:
    """All labels that is_known_label knows."""
    of_images = sa.select(images.c.label).where(images.c.label_origin != "stated").distinct()
    of_models = sa.select(sa.func.unnest(model_versions.c.classes))
    return set(connection.scalars(of_images)) | set(connection.scalars(of_models))


def give_feedback(
    connection: sa.Connection, prediction: StoredPrediction, account: Account, opinion: Opinion, mirrored: bool
) -> tuple[int, Effect]:
    """Record an opinion, and let it do what this account's word can do.

    The name that an expert or admin gives becomes a confirmed label. Anything else is a proposal: it takes a harvested
    label that it contradicts out of the pool until somebody certifies it, and never touches a label of a person.

    Args: mirrored, whether a mirror image is a copy.
    Returns: the feedback's id, and what it did.
    """
    feedback_id: int = connection.execute(
        sa.insert(feedback)
        .values(
            prediction_id=prediction.id,
            account_id=account.id,
            verdict=opinion.verdict,
            corrected_label=opinion.corrected,
        )
        .returning(feedback.c.id)
    ).scalar_one()
    return feedback_id, _apply(connection, prediction, account, opinion, mirrored)


def _apply(
    connection: sa.Connection, prediction: StoredPrediction, account: Account, opinion: Opinion, mirrored: bool
) -> Effect:
    sha256, actor = prediction.image_sha256, actor_name(account)
    if may_certify(account) and opinion.label is not None:
        return "confirmed" if confirm(connection, sha256, opinion.label, actor, mirrored) else "recorded"
    return "suspended" if _suspend(connection, sha256, opinion, prediction.id, actor) else "recorded"


def _suspend(connection: sa.Connection, sha256: str, opinion: Opinion, prediction_id: int, actor: str) -> bool:
    lock_membership(connection, "pool")
    is_harvested = (images.c.sha256 == sha256) & (images.c.label_origin == "harvested") & images.c.held_back.is_(None)
    label = connection.execute(sa.select(images.c.label).where(is_harvested)).scalar_one_or_none()
    if label is None or not opinion.contradicts(label):
        return False
    suspend(connection, [sha256], actor, proposed=opinion.label, prediction_id=prediction_id)
    return True
