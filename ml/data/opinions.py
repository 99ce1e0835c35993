"""Feedback as people give it: on which prediction, by whom, and what makes sense."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.annotations import Annotation, AnnotationReader
from ml.catalog.database import Catalog
from ml.data.copies.near_copies import prepare_search
from ml.data.feedback import (
    Effect,
    Opinion,
    StoredPrediction,
    Verdict,
    find_classes,
    find_prediction,
    give_feedback,
    is_known_label,
    may_certify,
)
from ml.errors import FeedbackError, ForbiddenError, UnknownPredictionError, UnknownVersionError


def judge_prediction(
    catalog: Catalog,
    prediction_id: int,
    account: Account,
    verdict: Verdict,
    corrected_label: str | None,
    mirrored: bool,
    served: Mapping[int, Sequence[str]],
    reader: AnnotationReader,
) -> tuple[int, Effect]:
    """Take an account's word on whether the first name of a prediction is right; see `give_feedback`.

    Args:
        verdict: `ok` or `nok`.
        corrected_label: what the item shows, with `nok` only.
        mirrored: whether a mirror image is a copy.
        served: classes of the versions that answer here, by version: somebody may have registered one elsewhere.
        reader: what the corrected label means.
    Returns: the feedback's id, and what it did.
    Raises:
        UnknownPredictionError: nobody has that id.
        ForbiddenError: it is another's prediction, and the account is no expert's or admin's.
        UnknownVersionError: the names of the version that answered are not known here.
        LabelError: the corrected label is none of the task.
        FeedbackError: it does not fit the verdict, or nobody knows it.
        DatabaseUnavailableError, ImageStoreError.
    """
    corrected = None if corrected_label is None else reader.read_label(corrected_label)
    prediction = _find(catalog, prediction_id, account)
    if may_certify(account):
        prepare_search(catalog, [prediction.item_id], mirrored)
    with catalog.begin() as connection:
        classes = _classes(connection, prediction.model_version, served)
        opinion = _opinion(verdict, classes[prediction.best_index], corrected)
        _demand_known(connection, opinion.corrected, classes)
        return give_feedback(connection, prediction, account, opinion, mirrored, reader.is_exclusive)


def _find(catalog: Catalog, prediction_id: int, account: Account) -> StoredPrediction:
    with catalog.begin() as connection:
        prediction = find_prediction(connection, prediction_id)
    if prediction is None:
        raise UnknownPredictionError("Expected the id of a prediction, got one that nobody has.")
    if account.id != prediction.account_id and not may_certify(account):
        raise ForbiddenError("Feedback on a prediction is for who asked for it, experts and admins.")
    return prediction


def _classes(connection: sa.Connection, version: int, served: Mapping[int, Sequence[str]]) -> Sequence[str]:
    classes = find_classes(connection, version) or served.get(version)
    if classes is None:
        raise UnknownVersionError(
            f"The names of model version {version} are not known here, so its predictions take no feedback."
        )
    return classes


def _opinion(verdict: Verdict, predicted: str, corrected: Annotation | None) -> Opinion:
    if verdict == "ok" and corrected is not None:
        raise _refusal("expected none with `ok`, which says that the prediction is right")
    if corrected is not None and corrected.class_names == (predicted,):
        raise _refusal("expected another name than the predicted one, which `nok` says is wrong")
    return Opinion(verdict, predicted, corrected)


def _demand_known(connection: sa.Connection, corrected: Annotation | None, classes: Sequence[str]) -> None:
    new = set() if corrected is None else set(corrected.class_names).difference(classes)
    if not all(is_known_label(connection, name) for name in new):
        raise _refusal("expected a name that a model or a stored image has, got another. Check its spelling")


def _refusal(what: str) -> FeedbackError:
    return FeedbackError(f"corrected_label: {what}.")
