"""Fixtures with a very small but real model and a real database."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.deadlines import Deadline
from ml.serving.admission import AdmissionControl
from ml.serving.answering import Predictor, Stage
from ml.serving.loaded_model import LoadedModel
from ml.settings import Settings
from ml.tasks.classification.classification_task import TASK


@pytest.fixture
def load_model(write_bundle: Callable[[Path, int], Path], tmp_path: Path) -> Callable[[int], LoadedModel]:
    """Return a function that loads a version. The version's number is also its seed."""
    return lambda version: LoadedModel.load(write_bundle(tmp_path / f"{version}-run", version), TASK)


@pytest.fixture
def model(load_model: Callable[[int], LoadedModel]) -> LoadedModel:
    return load_model(1)


@pytest.fixture
def account_id(catalog: Catalog) -> int:
    statement = "INSERT INTO users.accounts (login, password_hash, role) VALUES ('ada', 'x', 'user') RETURNING id"
    with catalog.begin() as connection:
        found: int = connection.execute(sa.text(statement)).scalar_one()
        return found


@pytest.fixture
def stages() -> list[Stage]:
    """The stages that a predictor has reported."""
    return []


@pytest.fixture
def predictor(
    settings: Settings, catalog: Catalog, model: LoadedModel, account_id: int, stages: list[Stage]
) -> Predictor:
    """A predictor with version 1. It harvests nothing and has a late deadline."""
    unsure = settings.model_copy(update={"harvest_confidence": 1.0})
    return Predictor(
        unsure, AdmissionControl(2), catalog, model, account_id, Deadline(120), lambda stage, _: stages.append(stage)
    )
