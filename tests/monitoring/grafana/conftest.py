"""A database with some nights, a fake Grafana, and the committed dashboards."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml.catalog import tables
from ml.catalog.database import open_catalog
from ml.figures import NIGHTLY
from ml.settings import Settings
from tests.ml.image_rows import add_item
from tests.monitoring.grafana.stand_in import Grafana, running_grafana

DASHBOARDS = Path(__file__).resolve().parents[3] / "grafana" / "dashboards"
SHA256S = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(6)]
ORIGINS = ["curated", "confirmed", "harvested", "curated", "harvested", None]
FIGURES = {"image_count": 10, "precision": 0.9, "recall": 0.8, "f1": 0.85}
DRIFT: dict[str, Any] = {
    **dict.fromkeys(("reference_images", "recent_images", "reference_features", "recent_features"), 40),
    **dict.fromkeys(("calibration_images", "feedback_images"), 40),
    **dict.fromkeys(("confidence_psi", "confidence_ks", "class_psi", "feature_mmd"), 0.3),
    **dict.fromkeys(
        ("confidence_p_value", "class_p_value", "feature_p_value", "novelty_p_value", "novel_share"), 0.004
    ),
    **dict.fromkeys(("estimated_accuracy", "observed_accuracy"), 0.8),
    **{"observed_accuracy_low": 0.7, "observed_accuracy_high": 0.9, "moved": ["features"]},
}


@pytest.fixture(scope="session")
def dashboards() -> list[dict[str, Any]]:
    """The committed files."""
    return [json.loads(file.read_text()) for file in sorted(DASHBOARDS.glob("*.json"))]


@pytest.fixture
def start_grafana() -> Iterator[Callable[..., Grafana]]:
    """Starts fake Grafana servers. Args: as for running_grafana."""
    with ExitStack() as stack:
        yield lambda *args, **named: stack.enter_context(running_grafana(*args, **named))


@pytest.fixture
def grafana(start_grafana: Callable[..., Grafana]) -> Grafana:
    return start_grafana()


@pytest.fixture(scope="session")
def filled_settings(
    catalog_template: str, copied_database: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """A deployment with rows in every table that a panel reads."""
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        mycoflow_home=tmp_path_factory.mktemp("home"),
        database_url=SecretStr(copied_database(catalog_template)),
    )
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        _add_images(connection)
        _add_nights(connection)
        _add_predictions(connection)
    return settings


def _add_images(connection: sa.Connection) -> None:
    for number, (sha256, origin) in enumerate(zip(SHA256S, ORIGINS, strict=True)):
        member = {"split": "pool", "entered_pool_at": sa.func.clock_timestamp()} if origin else {}
        label = {"class_names": ["ab"[number % 2]], "label_origin": origin} if origin else {}
        add_item(connection, sha256, **member, **label)
    batch = _add(connection, tables.ingest_batches, source="test", is_quarantined=True, reject_share=0.5)
    file = {"batch_id": batch, "version": "1"}
    _add(connection, tables.ingest_files, **file, name="good.png", outcome="waiting")
    _add(connection, tables.ingest_files, **file, name="bad.png", outcome="rejected", reason="size", message="Small.")


def _add_nights(connection: sa.Connection) -> None:
    now = sa.func.clock_timestamp()
    snapshot = {"cutoff": now, "requested_size": 5, "strategy": "newest", "classes": ["a", "b"], "pool_state": "5"}
    snapshot_id = _add(connection, tables.snapshots, **snapshot)
    model = {"backbone_id": "t:1", "classes": ["a", "b"], "image_size": 32, "precision": "fp32"}
    _add(connection, tables.model_versions, version=1, mlflow_run_id="run", snapshot_id=snapshot_id, **model)
    move = {"kind": "promotion", "to_version": 1, "actor": "test", "reason": "Better."}
    _add(connection, tables.promotions, **move, completed_at=now)
    set_version = _add(connection, tables.evaluation_sets, content_sha256="set")
    scored = {"model_version": 1, "evaluation_set_version": set_version}
    macro = dict.fromkeys(("main_figure", "accuracy", "precision_macro", "recall_macro", "f1_macro"), 0.8)
    per_class = {"a": FIGURES, "b": FIGURES, "empty": dict.fromkeys(FIGURES, 0)}
    detail = {"per_class": per_class, "confusion": [[9, 1], [3, 7]], "image_count": 20}
    for part in ("anchor", "recent"):
        _add(connection, tables.evaluations, **scored, **macro, **detail, part=part, is_deciding=part == "recent")
    new = {"new_images_human": 3, "new_images_harvested": 2, "is_retraining_requested": True, "reasons": ["Below."]}
    figures = {figure.name: 0.7 for figure in NIGHTLY}
    below = [{"label": None, "value": 0.6, "floor": 0.7}]
    _add(connection, tables.monitorings, **scored, main_figure=0.6, figures=figures, shortfalls=below, **new)
    asked = {"request_key": "night", "reason": "Below.", "parameters": {}, "snapshot_id": snapshot_id}
    attempt = _add(connection, tables.attempts, **asked, model_version=1, finished_at=now)
    verdict = {"decision": "promote", "reasons": ["Better."], "warnings": [], "challenger_figure": 0.8}
    _add(connection, tables.verdicts, attempt_id=attempt, **scored, champion_version=None, **verdict)
    _add(connection, tables.drift_checks, model_version=1, **DRIFT)
    told = {"kind": "retraining_failed", "event_key": "failed", "title": "A step failed", "body": "Its process died."}
    _add(connection, tables.alerts, **told)
    _add(connection, tables.training_failures, request_key="another night", step="train", try_number=1)


def _add_predictions(connection: sa.Connection) -> None:
    result = {"item_id": SHA256S[0], "model_version": 1, "probabilities": [0.9, 0.1]}
    result |= {"top_class": "a", "confidence": 0.9, "margin": 0.8}
    result_id = _add(connection, tables.results, **result)
    prediction = _add(connection, tables.predictions, result_id=result_id, is_cached=False)
    _add(connection, tables.feedback, prediction_id=prediction, verdict="ok")


def _add(connection: sa.Connection, table: sa.Table, **values: Any) -> Any:
    """Returns: the key of the new row."""
    return connection.execute(sa.insert(table).values(values)).inserted_primary_key[0]  # type: ignore[index]
