"""Where a training is shown in MLflow."""

from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.models.attempts import start_attempt, update_attempt
from ml.catalog.tables import snapshots
from ml.errors import SettingsError
from ml.registry.run_links import training_run_url
from ml.settings import Settings, load_settings


@pytest.fixture
def trained(catalog: Catalog) -> str:
    """The request key of an attempt that was trained."""
    values = {"cutoff": datetime.now(UTC), "requested_size": 2, "strategy": "newest", "classes": [], "pool_state": ""}
    with catalog.begin() as connection:
        snapshot_id = connection.execute(sa.insert(snapshots).values(values).returning(snapshots.c.id)).scalar_one()
        start_attempt(connection, "only begun", "a test", {}, snapshot_id)
        attempt_id = start_attempt(connection, "manual__2026-05-01", "a test", {}, snapshot_id)
        update_attempt(connection, attempt_id, mlflow_run_id="0123abcd")
    return "manual__2026-05-01"


@pytest.mark.parametrize(
    ("tracking", "public", "address"),
    [
        ("http://mlflow:5000", None, "http://mlflow:5000/#/runs/0123abcd"),
        ("http://mlflow:5000", "https://mlflow.example.org/", "https://mlflow.example.org/#/runs/0123abcd"),
        ("https://ada:secret@mlflow.example.org", None, "https://mlflow.example.org/#/runs/0123abcd"),
        ("http://mlflow:5000", "https://ada:secret@mlflow.example.org/", "https://mlflow.example.org/#/runs/0123abcd"),
        ("postgresql://localhost/mlflow", "http://127.0.0.1:5000", "http://127.0.0.1:5000/#/runs/0123abcd"),
        ("postgresql://localhost/mlflow", None, None),
        (None, None, None),
    ],
)
def test_a_run_is_shown_where_people_reach_mlflow(
    catalog: Catalog, settings: Settings, trained: str, tracking: str | None, public: str | None, address: str | None
) -> None:
    chosen = settings.model_copy(update={"mlflow_tracking_uri": tracking, "mlflow_public_url": public})
    assert training_run_url(catalog, chosen, trained) == address


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("request_key", ["only begun", "never heard of"])
def test_there_is_nothing_to_show_before_a_training(catalog: Catalog, settings: Settings, request_key: str) -> None:
    chosen = settings.model_copy(update={"mlflow_public_url": "http://127.0.0.1:5000"})
    assert training_run_url(catalog, chosen, request_key) is None


def test_an_address_that_no_browser_opens_is_refused() -> None:
    with pytest.raises(SettingsError, match="MYCOFLOW_MLFLOW_PUBLIC_URL"):
        load_settings(mlflow_public_url="postgresql://localhost/mlflow")
