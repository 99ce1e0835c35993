"""Another backbone needs one module and one line in `registered.py`; a night runs with any backbone."""

import io
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from ml import cycle
from ml.app import Workspace, load_version, open_workspace
from ml.backbones.keras_backend import build_network
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.catalog.accounts.tokens import issue_token
from ml.catalog.tables import accounts, features
from ml.errors import SettingsError
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder
from ml.settings import Settings
from ml.training.recipes import Finetune, Retrain
from tests import three_layers
from tests.application import application_as_web
from tests.deployments import Origin, copy_deployment, drop_deployment
from webapi import application_state

ROOT = Path(__file__).parents[3]
RETRAIN = Retrain(snapshot_size=200)


@pytest.fixture
def tiny_settings(filled: Origin, server_home: Path, tmp_path: Path) -> Iterator[Settings]:
    """A deployment with digits and a backbone of three layers, which one line registers; it serves in int8."""
    settings = copy_deployment(filled, server_home, tmp_path / "home")
    yield settings.model_copy(update={"model_precision": "int8"})
    drop_deployment(settings, server_home)


@pytest.fixture
def tiny(tiny_settings: Settings) -> Iterator[Workspace]:
    with open_workspace(tiny_settings) as workspace:
        yield workspace


def run_tags(workspace: Workspace, version: int) -> dict[str, str]:
    run_id = next(each.mlflow_run_id for each in workspace.registry.versions() if each.version == version)
    return dict(MlflowClient(workspace.settings.mlflow_tracking_uri).get_run(run_id).data.tags)


def ask_the_service(workspace: Workspace, settings: Settings, image: Path) -> tuple[dict[str, str], str]:
    """Let the service load the version in production and predict. Returns: labels of its metric, and the best class."""
    with workspace.catalog.begin() as connection:
        row = sa.insert(accounts).values(login="ada", role="user", password_hash="none").returning(accounts.c.id)
        token = issue_token(connection, connection.execute(row).scalar_one(), timedelta(hours=1)).token
    with application_as_web(settings) as app:
        current = application_state.current(app)
        current.models.poll()
        headers, data = {"Authorization": f"Bearer {token}"}, {"file": (io.BytesIO(image.read_bytes()), image.name)}
        answer: Any = app.test_client().post("/predictions", data=data, headers=headers)
        shown = [sample for metric in current.metrics.registry.collect() for sample in metric.samples]
        (told,) = (sample.labels for sample in shown if sample.name == "mycoflow_model_info")
    assert answer.status_code == 200, answer.text
    return told, answer.json["results"][0]["name"]


@pytest.mark.heavy
def test_a_night_on_another_backbone_ends_with_a_version_that_the_service_serves(
    tiny: Workspace, tiny_settings: Settings, few_digits: DigitFolders
) -> None:
    report = cycle.retrain(tiny, "first", "test", RETRAIN)
    assert (report.production_version, report.verdict.decision) == (1, "promote")
    card = load_version(tiny, 1).card
    assert (card.backbone, card.backbone_weights) == (three_layers.NAME, "random:0")
    assert run_tags(tiny, 1)["backbone"] == three_layers.NAME
    (version,) = tiny.registry.versions()
    assert version.tags["backbone"] == three_layers.NAME
    with tiny.catalog.begin() as connection:
        lengths = set(connection.scalars(sa.select(sa.func.octet_length(features.c.vector))))
    assert lengths == {4 * three_layers.BACKBONE.feature_count}

    ingest_folder(tiny.catalog, few_digits.later, "pool")
    assert cycle.monitor(tiny).reasons == ["120 new images reach the threshold of 100."]
    assert cycle.measure_drift(tiny).reference_features == 36
    second = cycle.retrain(tiny, "second", "test", RETRAIN)
    assert second.verdict.champion_version == 1
    third = cycle.retrain(tiny, "third", "test", Finetune(200, layers=2, epochs=2, learning_rate=1e-4))
    assert load_version(tiny, third.model_version).card.backbone_weights.startswith("finetuned:")
    with pytest.raises(SettingsError, match="layers: expected 1 to 3"):
        cycle.retrain(tiny, "fourth", "test", Finetune(200, layers=4, epochs=1))

    served, name = ask_the_service(tiny, tiny_settings, next((few_digits.evaluation / "0").iterdir()))
    assert served["backbone"] == three_layers.NAME
    assert served["version"] == str(tiny.registry.champion())
    assert name == "0"


@pytest.mark.parametrize("size", [32, 50])
def test_its_onnx_file_computes_what_keras_computes(size: int) -> None:
    weights = three_layers.BACKBONE.resolve_weights("random")
    images = np.random.default_rng(1).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    onnx = three_layers.BACKBONE.export_onnx(weights, size)
    expected = build_network(three_layers.BACKBONE, weights, size).predict(images, verbose=0)
    np.testing.assert_allclose(OnnxBackbone(onnx).features(images), expected, rtol=1e-4, atol=1e-5)
    assert three_layers.BACKBONE.export_onnx(three_layers.BACKBONE.read_onnx(onnx, "random:0"), size) == onnx


def test_every_command_refuses_an_unknown_backbone_and_lists_the_known_ones(settings: Settings) -> None:
    with (
        pytest.raises(SettingsError, match=r"backbones: vgg16.*Received: 'vgg61'.*MYCOFLOW_BACKBONE"),
        open_workspace(settings.model_copy(update={"backbone": "vgg61"})),
    ):
        pass


def test_finding_a_backbone_imports_no_tensorflow(run_python: Callable[..., str]) -> None:
    code = "import sys; from ml.backbones.registered import *; [find_backbone(name) for name in REGISTERED]"
    assert run_python(f"{code}; print('tensorflow' in sys.modules, 'keras' in sys.modules)") == "False False"


@pytest.mark.parametrize(
    ("word", "folder", "migrations"), [("vgg", "vgg16", 1), ("efficientnet", "efficientnet_lite", 0)]
)
def test_only_the_folder_of_a_backbone_and_its_lines_in_the_list_name_it(
    word: str, folder: str, migrations: int
) -> None:
    """Migrations are excepted: they name the backbone of old rows."""
    modules = [f"{each}/*.py" for each in ("ml", "webapi", "dags", "plugins")]
    command = ["git", "-C", str(ROOT), "grep", "-I", "-i", "-n", "--untracked", word, "--", *modules]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    own = (f"ml/backbones/{folder}/", *["ml/catalog/migrations/versions/0004"] * migrations)
    foreign = [line for line in lines if not line.startswith(own)]
    assert len(lines) > 30
    assert {line.partition(":")[0] for line in foreign} == {"ml/backbones/registered.py"}, foreign
