"""Whose word on a prediction is taken, and which."""

from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account, Role
from ml.catalog.annotations import ONE_CLASS, Annotation
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.items.image_records import ImageRecord
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.logs.results import save_prediction, save_result
from ml.catalog.tables import feedback
from ml.data.membership import read_states
from ml.data.opinions import judge_prediction
from ml.errors import FeedbackError, ForbiddenError, UnknownPredictionError, UnknownVersionError

VERSION = 3
SERVED = {VERSION: ["amanita", "boletus"]}  # the first is predicted
NewAccount = Callable[[str, Role], Account]


@pytest.fixture
def new_account(catalog: Catalog) -> NewAccount:
    row = sa.text("INSERT INTO users.accounts (login, password_hash, role) VALUES (:login, 'x', :role) RETURNING id")

    def add(login: str, role: Role) -> Account:
        with catalog.begin() as connection:
            return Account(connection.execute(row, {"login": login, "role": role}).scalar_one(), login, role)

    return add


@pytest.fixture
def asker(new_account: NewAccount) -> Account:
    return new_account("ada", "user")


@pytest.fixture
def prediction_id(catalog: Catalog, asker: Account) -> int:
    sha256 = "ab" * 32
    answer = Answer("amanita", 0.9, 0.8, np.array([0.9, 0.1], np.float32))
    with catalog.begin() as connection:
        add_predicted(connection, ItemRecord("upload", ImageRecord(sha256, "image/png", 8, 8, 100)))
        result = save_result(connection, sha256, VERSION, answer)
        return save_prediction(connection, result.id, asker.id, False)


def test_who_asked_may_propose(catalog: Catalog, prediction_id: int, asker: Account) -> None:
    feedback_id, effect = judge_prediction(catalog, prediction_id, asker, "nok", "boletus", True, SERVED, ONE_CLASS)
    assert effect == "recorded"
    with catalog.begin() as connection:
        row = connection.execute(sa.select(feedback)).one()
    assert (row.id, row.account_id, row.verdict, row.corrected_label) == (feedback_id, asker.id, "nok", "boletus")


def test_a_stranger_may_not_and_an_expert_may(catalog: Catalog, prediction_id: int, new_account: NewAccount) -> None:
    with pytest.raises(ForbiddenError):
        judge_prediction(catalog, prediction_id, new_account("bob", "user"), "ok", None, True, SERVED, ONE_CLASS)
    expert = new_account("eve", "expert")
    assert judge_prediction(catalog, prediction_id, expert, "ok", None, True, SERVED, ONE_CLASS)[1] == "confirmed"


@pytest.mark.parametrize("wrong_id", [0, 10**6, 2**63])
@pytest.mark.usefixtures("prediction_id")
def test_a_prediction_that_nobody_made_is_unknown(catalog: Catalog, asker: Account, wrong_id: int) -> None:
    with pytest.raises(UnknownPredictionError):
        judge_prediction(catalog, wrong_id, asker, "ok", None, True, SERVED, ONE_CLASS)


def test_without_the_version_s_names_there_is_nothing_to_judge(
    catalog: Catalog, prediction_id: int, asker: Account
) -> None:
    with pytest.raises(UnknownVersionError, match=f"version {VERSION}"):
        judge_prediction(catalog, prediction_id, asker, "ok", None, True, {}, ONE_CLASS)


@pytest.mark.parametrize(
    ("verdict", "label"), [("ok", "boletus"), ("ok", "amanita"), ("nok", "amanita"), ("nok", "no such name")]
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    catalog: Catalog, prediction_id: int, asker: Account, verdict: str, label: str
) -> None:
    with pytest.raises(FeedbackError, match="corrected_label"):
        judge_prediction(catalog, prediction_id, asker, verdict, label, True, SERVED, ONE_CLASS)  # type: ignore[arg-type]
    with catalog.begin() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(feedback)) == 0


class Several:
    """An item may have several classes."""

    is_exclusive = False

    def read_label(self, label: str, /) -> Annotation:
        return Annotation(tuple(label.split("|")))


def test_one_right_name_of_several_confirms_only_a_label_that_has_it(
    catalog: Catalog, prediction_id: int, new_account: NewAccount
) -> None:
    expert = new_account("eve", "expert")
    said = []
    for verdict, label in (("ok", None), ("nok", "boletus|amanita"), ("ok", None), ("nok", "boletus"), ("ok", None)):
        _, effect = judge_prediction(catalog, prediction_id, expert, verdict, label, True, SERVED, Several())  # type: ignore[arg-type]
        with catalog.begin() as connection:
            annotation = read_states(connection, ["ab" * 32])["ab" * 32].annotation
        said.append((effect, annotation and annotation.class_names))
    both = ("boletus", "amanita")
    assert said == [
        ("recorded", None),
        ("confirmed", both),
        ("recorded", both),
        ("confirmed", ("boletus",)),
        ("recorded", ("boletus",)),
    ]
    with catalog.begin() as connection:
        labels = list(connection.scalars(sa.select(feedback.c.corrected_label).order_by(feedback.c.id)))
    assert labels == [None, "boletus, amanita", None, "boletus", None]


def test_each_name_of_a_correction_must_be_known(catalog: Catalog, prediction_id: int, asker: Account) -> None:
    with pytest.raises(FeedbackError, match="a name that a model"):
        judge_prediction(catalog, prediction_id, asker, "nok", "boletus|no such name", True, SERVED, Several())
