"""Accept feedback on a prediction, after checking the account's rights and the label."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.annotations import Annotation, AnnotationReader
from ml.catalog.class_names import read_class_name
from ml.catalog.database import Catalog
from ml.data.copies.near_copies import prepare_search
from ml.data.feedback import (
    Effect,
    Instead,
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
    instead: Instead | None = None,
    proposed_name: str | None = None,
) -> tuple[int, Effect]:
    """Check and record an account's feedback on the first class of a prediction; see `give_feedback`.

    Args:
        verdict: `ok` or `nok`.
        corrected_label: the label of all that the item shows, optional with `nok`.
        mirrored: whether a mirror image is a copy.
        served: version -> classes, of the versions that this service serves. The catalog lacks the classes of a version
            that was registered elsewhere.
        reader: reads the corrected label.
        instead, proposed_name: what is said in place of a corrected label; see `Opinion`. A proposed name that is known
            after all counts as the corrected label.
    Returns: the feedback's id, and its effect.
    Raises:
        UnknownPredictionError: no prediction has this id.
        ForbiddenError: another account made the prediction, and this one is neither an expert nor an admin.
        UnknownVersionError: the classes of the prediction's version are unknown.
        LabelError: the task cannot read the corrected label, or the proposed name cannot name a class.
        FeedbackError: the corrected label does not fit the verdict, or is unknown; or what is said in its place does
            not fit.
        DatabaseUnavailableError, ImageStoreError.
    """
    _check_instead(verdict, corrected_label, instead, proposed_name)
    corrected = None if corrected_label is None else reader.read_label(corrected_label)
    name = None if proposed_name is None else read_class_name(proposed_name)
    prediction = _find(catalog, prediction_id, account)
    if may_certify(account):
        prepare_search(catalog, [prediction.item_id], mirrored)
    with catalog.begin() as connection:
        classes = _classes(connection, prediction.model_version, served)
        if name is not None and (name in classes or is_known_label(connection, name)):
            corrected, instead, name = reader.read_label(name), None, None  # not as unknown as the person thought
        opinion = replace(_opinion(verdict, prediction.top_class, corrected), instead=instead, proposed_name=name)
        _demand_known(connection, opinion.corrected, classes)
        return give_feedback(connection, prediction, account, opinion, mirrored, reader.is_exclusive)


def _find(catalog: Catalog, prediction_id: int, account: Account) -> StoredPrediction:
    with catalog.begin() as connection:
        prediction = find_prediction(connection, prediction_id)
    if prediction is None:
        raise UnknownPredictionError("Expected the id of a prediction, got an id that no prediction has.")
    if account.id != prediction.account_id and not may_certify(account):
        raise ForbiddenError(
            "Expected the account that asked for the prediction, an expert or an admin, got another account."
        )
    return prediction


def _classes(connection: sa.Connection, version: int, served: Mapping[int, Sequence[str]]) -> Sequence[str]:
    classes = find_classes(connection, version) or served.get(version)
    if classes is None:
        raise UnknownVersionError(
            f"The classes of model version {version} are unknown here, so its predictions accept no feedback."
        )
    return classes


def _check_instead(
    verdict: Verdict, corrected_label: str | None, instead: Instead | None, proposed_name: str | None
) -> None:
    if instead is not None and (verdict == "ok" or corrected_label is not None):
        raise FeedbackError("instead: expected it only with `nok` and without a corrected_label.")
    if proposed_name is not None and instead != "other":
        raise FeedbackError("proposed_name: expected it only with instead `other`.")


def _opinion(verdict: Verdict, predicted: str | None, corrected: Annotation | None) -> Opinion:
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
