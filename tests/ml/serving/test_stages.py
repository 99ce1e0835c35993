"""The version for a model's name and a stage, without MLflow. tests/webapi/api/test_stages.py uses MLflow."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from ml.app import Workspace, open_registry
from ml.catalog.database import Catalog
from ml.catalog.tables import model_versions
from ml.errors import NoChampionError, UnknownVersionError
from ml.registry.mlflow_registry import MODEL_NAME
from ml.serving.loaded_model import LoadedModel
from ml.serving.model_host import ModelHost
from ml.serving.serving_cache import ServingCache
from ml.serving.stages import find_version
from ml.settings import Settings
from ml.tasks.classification.classification_task import TASK


@pytest.fixture
def workspace(settings: Settings, catalog: Catalog, free_port: Callable[[], int]) -> Workspace:
    """A workspace whose MLflow does not answer."""
    nowhere = settings.model_copy(update={"mlflow_tracking_uri": f"http://127.0.0.1:{free_port()}"})
    return Workspace(nowhere, catalog, open_registry(nowhere))


@pytest.fixture
def models(workspace: Workspace) -> ModelHost:
    cache = ServingCache(workspace.settings.mycoflow_home / "serving")
    return ModelHost(cache, lambda: workspace.registry, 60, lambda _: None, TASK, lambda _: None)


def test_production_is_the_version_that_answers_and_the_catalog_learns_of_it(
    workspace: Workspace, models: ModelHost, load_model: Callable[[int], LoadedModel]
) -> None:
    models.serve(load_model(5))
    assert [find_version(workspace, models, MODEL_NAME, stage) for stage in ("production", "Production")] == [5, 5]
    with workspace.catalog.begin() as connection:
        row = connection.execute(sa.select(model_versions.c.version, model_versions.c.mlflow_run_id)).one()
    assert tuple(row) == (5, "run")


def test_before_the_first_model_there_is_no_production(workspace: Workspace, models: ModelHost) -> None:
    with pytest.raises(NoChampionError):
        find_version(workspace, models, MODEL_NAME, "production")


def test_another_model_is_unknown(workspace: Workspace, models: ModelHost, model: LoadedModel) -> None:
    models.serve(model)
    with pytest.raises(UnknownVersionError, match=f"expected {MODEL_NAME}"):
        find_version(workspace, models, "resnet", "production")
