from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.models.attempts import start_attempt
from ml.catalog.models.cross_fitted_answers import load_cross_fitted, save_cross_fitted
from ml.catalog.tables import snapshots


@pytest.fixture
def attempt_id(catalog: Catalog) -> int:
    values = {"cutoff": sa.func.now(), "requested_size": 2, "strategy": "newest", "pool_state": "2"}
    with catalog.begin() as connection:
        stored = sa.insert(snapshots).values(classes=["a", "b"], **values).returning(snapshots.c.id)
        return start_attempt(connection, "run-1", "test", {}, connection.execute(stored).scalar_one())


def test_the_answers_of_a_training_are_stored_and_a_second_try_replaces_them(
    catalog: Catalog, add_images: Callable[..., list[str]], attempt_id: int
) -> None:
    first, second = add_images("a", 2)
    with catalog.begin() as connection:
        save_cross_fitted(connection, attempt_id, {first: np.float32([0.9, 0.1]), second: np.float32([0.2, 0.8])})
    with catalog.begin() as connection:
        save_cross_fitted(connection, attempt_id, {first: np.float32([0.3, 0.7])})
        stored = load_cross_fitted(connection, attempt_id)
        assert load_cross_fitted(connection, attempt_id + 1) == {}
    assert list(stored) == [first]
    np.testing.assert_array_equal(stored[first], np.float32([0.3, 0.7]))
