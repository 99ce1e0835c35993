"""Backbones made for real digits in a real catalog: 32 pixels, random weights."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from ml.app import Workspace, open_registry
from ml.backbones import served_backbone as served_backbone_module
from ml.backbones.base import BackboneWeights
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.served_backbone import load_served_backbone, make_served_backbone
from ml.backbones.vgg16.onnx_export import export_backbone
from ml.backbones.vgg16.vgg16_backbone import BACKBONE
from ml.catalog.database import Catalog
from ml.catalog.object_store import backbone_key
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.catalog.tables import backbones as backbones_table
from ml.data.snapshot_rules import SnapshotRules, create_snapshot
from ml.errors import WeightsError
from ml.ingest.folder import ingest_folder
from ml.settings import Settings
from tests.transaction_watch import TransactionWatch


@pytest.fixture
def place(settings: Settings, catalog: Catalog) -> Workspace:
    """A deployment that serves in int8. Its registry is never used."""
    return Workspace(settings.model_copy(update={"model_precision": "int8"}), catalog, open_registry(settings))


@pytest.fixture
def snapshot(catalog: Catalog, small_digits: tuple[Path, Path]) -> Snapshot:
    """Two classes, 60 images of the pool, and 40 for evaluation."""
    evaluation, pool = small_digits
    ingest_folder(catalog, evaluation, "evaluation")
    ingest_folder(catalog, pool, "pool")
    with catalog.begin() as connection:
        return load_snapshot(connection, create_snapshot(connection, SnapshotRules(100, 0.2, 0.3), None))


@pytest.fixture
def quantised(int8_backbone: served_backbone_module.ServedBackbone, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Replace quantisation, which takes seconds, by another backbone. Returns: the list of replaced results."""
    given: list[bytes] = []

    def quantise(*_: object) -> bytes:
        given.append(int8_backbone.onnx)
        return int8_backbone.onnx

    monkeypatch.setattr(served_backbone_module, "quantise_backbone", quantise)
    return given


def make(
    place: Workspace, weights: BackboneWeights, snapshot: Snapshot, **settings: Any
) -> served_backbone_module.ServedBackbone:
    changed = replace(place, settings=place.settings.model_copy(update=settings))
    return make_served_backbone(changed.catalog, changed.settings, BACKBONE, weights, 32, snapshot)


def rows(catalog: Catalog) -> list[Any]:
    with catalog.begin() as connection:
        return list(connection.execute(sa.select(backbones_table).order_by(backbones_table.c.made_at)))


def refuse(*_: object) -> bytes:
    raise AssertionError("a backbone was made again")


def test_a_backbone_is_quantised_compared_and_stored_with_the_decision(
    place: Workspace,
    weights: BackboneWeights,
    snapshot: Snapshot,
    watch: TransactionWatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for slow in ("quantise_backbone", "compare_backbones"):
        watched = watch.watched(getattr(served_backbone_module, slow))
        monkeypatch.setattr(served_backbone_module, slow, watched)
    monkeypatch.setattr(OnnxBackbone, "features", watch.watched(OnnxBackbone.features))
    told: list[tuple[int, int]] = []
    backbone = make_served_backbone(
        place.catalog, place.settings, BACKBONE, weights, 32, snapshot, lambda done, total: told.append((done, total))
    )
    assert (backbone.precision, backbone.weights_recipe, backbone.image_size) == ("int8", "random:0", 32)
    assert len(backbone.onnx) < 0.27 * len(backbone.fp32_onnx)
    assert backbone.backbone_id == OnnxBackbone(backbone.onnx).backbone_id
    (row,) = rows(place.catalog)
    assert row.onnx_sha256 == hashlib.sha256(backbone.onnx).hexdigest()
    assert row.fp32_sha256 == hashlib.sha256(backbone.fp32_onnx).hexdigest()
    assert row.parity["decision"] == "int8"
    assert row.parity["reason"] == backbone.precision_reason
    assert row.parity["evaluation_images"] == 40
    learned = sum(item.fold == "train" for item in snapshot.items)
    assert row.parity["calibration_images"] == row.parity["training_images"] == learned == 48
    assert told[-1] == (176, 176)  # the features of 48 + 40 images, by both backbones
    assert watch.checks > 2
    assert watch.open == []


def test_a_backbone_is_made_once_and_found_again(
    place: Workspace, weights: BackboneWeights, snapshot: Snapshot, quantised: list[bytes]
) -> None:
    made = make(place, weights, snapshot)
    assert make(place, weights, snapshot) == made
    assert load_served_backbone(place.catalog, made.backbone_id) == made
    assert quantised == [made.onnx]


def test_parallel_workers_make_a_backbone_once(
    place: Workspace, weights: BackboneWeights, snapshot: Snapshot, quantised: list[bytes]
) -> None:
    with ThreadPoolExecutor(3) as workers:
        found = list(workers.map(lambda _: make(place, weights, snapshot), range(3)))
    assert len(quantised) == 1
    assert found[0] == found[1] == found[2]


def test_fp32_serves_where_int8_is_refused(
    place: Workspace,
    weights: BackboneWeights,
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nothing = BackboneWeights("nothing", {name: np.zeros_like(each) for name, each in weights.arrays.items()})
    monkeypatch.setattr(served_backbone_module, "quantise_backbone", lambda *_: export_backbone(nothing, 32))
    backbone = make(place, weights, snapshot)
    assert (backbone.precision, backbone.onnx) == ("fp32", backbone.fp32_onnx)
    assert backbone.precision_reason.startswith("int8 was refused")
    assert backbone.precision_reason in caplog.text
    monkeypatch.setattr(served_backbone_module, "quantise_backbone", refuse)
    assert make(place, weights, snapshot) == backbone
    assert rows(place.catalog)[0].parity["decision"] == "fp32"


@pytest.mark.usefixtures("quantised")
def test_another_minimum_agreement_makes_another_comparison(
    place: Workspace, weights: BackboneWeights, snapshot: Snapshot
) -> None:
    make(place, weights, snapshot)
    make(place, weights, snapshot, int8_minimum_agreement=0.5)
    assert [row.recipe.split(" ")[3] for row in rows(place.catalog)] == ["int8>=0.98", "int8>=0.5"]


def test_fp32_is_not_compared(place: Workspace, weights: BackboneWeights, snapshot: Snapshot) -> None:
    backbone = make(place, weights, snapshot, model_precision="fp32")
    assert backbone.onnx == backbone.fp32_onnx == export_backbone(weights, 32)
    assert backbone.precision_reason == "MYCOFLOW_MODEL_PRECISION asks for fp32."
    assert rows(place.catalog)[0].parity is None


@pytest.mark.usefixtures("quantised")
@pytest.mark.parametrize("which", ["onnx_sha256", "fp32_sha256"])
def test_bytes_that_changed_in_the_store_are_refused(
    place: Workspace, weights: BackboneWeights, snapshot: Snapshot, which: str
) -> None:
    backbone = make(place, weights, snapshot)
    place.catalog.store.put(backbone_key(getattr(rows(place.catalog)[0], which)), b"something else")
    with pytest.raises(WeightsError, match="have another hash"):
        load_served_backbone(place.catalog, backbone.backbone_id)


@pytest.mark.parametrize("backbone_id", [f"{'0' * 64}:rgb-bilinear-1", "nonsense"])
def test_a_backbone_that_was_not_made_here_is_refused(catalog: Catalog, backbone_id: str) -> None:
    with pytest.raises(WeightsError, match="Retrain: that makes a backbone"):
        load_served_backbone(catalog, backbone_id)


def test_a_backbone_for_another_preprocessing_is_refused(
    place: Workspace, weights: BackboneWeights, snapshot: Snapshot
) -> None:
    backbone = make(place, weights, snapshot, model_precision="fp32")
    with pytest.raises(WeightsError, match="rgb-bilinear-1"):
        load_served_backbone(place.catalog, backbone.backbone_id.partition(":")[0] + ":another")
