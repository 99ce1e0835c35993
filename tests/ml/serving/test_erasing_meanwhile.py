"""Photos and accounts that go while somebody asks about them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ml.catalog.accounts.user_accounts import Account
from ml.catalog.object_store import image_key
from ml.catalog.tables import images, items, predictions, results
from ml.errors import ErasedAccountError, UnknownImageError
from ml.ingest.validation import sanitise
from ml.serving.answering import Predictor
from ml.serving.loaded_model import LoadedModel
from ml.upkeep.erasing import erase_owner, erase_photo
from ml.upkeep.forgetting import forget_items

TIMES = 30


def repeat_at_once(*acts: Callable[[], object], between: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(acts)) as threads:
        for _ in range(TIMES):
            for done in [threads.submit(act) for act in acts]:
                done.result(timeout=60)
            between()


def test_erasing_and_predicting_at_once_leave_a_whole_state(predictor: Predictor, png: Callable[[int], bytes]) -> None:
    eager = replace(predictor, settings=predictor.settings.model_copy(update={"harvest_confidence": 0.0}))
    owner, sha256 = Account(predictor.account_id, "ada", "user"), sanitise(png(1)).sha256

    def erase() -> None:
        with suppress(UnknownImageError):
            erase_photo(predictor.catalog, owner, sha256)

    def check() -> None:
        with predictor.catalog.begin() as connection:
            is_known = connection.execute(sa.select(sa.exists().where(images.c.sha256 == sha256))).scalar_one()
            part = connection.execute(sa.select(items.c.image_sha256).where(items.c.id == sha256)).scalar_one_or_none()
        assert predictor.catalog.store.exists(image_key(sha256)) == is_known == (part is not None)

    repeat_at_once(lambda: eager.predict_upload(png(1)), erase, between=check)


@pytest.mark.parametrize("is_other", [False, True], ids=["the same version", "another version"])
def test_a_purge_and_a_prediction_of_the_same_photo_both_succeed(
    predictor: Predictor, load_model: Callable[[int], LoadedModel], png: Callable[[int], bytes], is_other: bool
) -> None:
    asks = [predictor, replace(predictor, model=load_model(2)) if is_other else predictor]

    def purge() -> None:
        with predictor.catalog.begin() as connection:
            connection.execute(sa.update(predictions).values(requested_at=sa.text("now() - interval '2 days'")))
            connection.execute(sa.update(items).values(received_at=sa.text("now() - interval '2 days'")))
        with predictor.catalog.begin() as connection:
            forget_items(connection, 1)

    def check() -> None:
        """Each result that is left still has its item: the purge took neither without the other."""
        with predictor.catalog.begin() as connection:
            known = sa.select(items.c.id)
            lost = sa.select(sa.func.count()).select_from(results).where(results.c.item_id.not_in(known))
            assert connection.execute(lost).scalar_one() == 0

    repeat_at_once(*(lambda each=each: each.predict_upload(png(1)) for each in asks), purge, between=check)
    assert all(each.predict_upload(png(1)).answer.top_class for each in asks)


def test_features_of_a_photo_without_an_item_of_its_own_are_no_answer(
    predictor: Predictor, png: Callable[[int], bytes]
) -> None:
    first = predictor.predict_upload(png(1))
    with predictor.catalog.begin() as connection:
        for table in (predictions, results, items):
            connection.execute(sa.delete(table))
    again = predictor.predict_upload(png(1))
    assert (again.is_cached, again.answer.top_class) == (False, first.answer.top_class)


def test_an_account_that_is_erased_while_it_asks_gets_a_reason(
    predictor: Predictor, png: Callable[[int], bytes]
) -> None:
    erase_owner(predictor.catalog, Account(predictor.account_id, "ada", "user"), "test")
    with pytest.raises(ErasedAccountError, match="erased meanwhile"):
        predictor.predict_upload(png(1))
