"""Make one backbone per recipe and share it: training, scoring and serving use the same bytes."""

import hashlib
import logging
from dataclasses import asdict, dataclass, field, replace

import sqlalchemy as sa

from ml.backbones.base import Backbone, BackboneWeights
from ml.backbones.cpus import int8_saturates
from ml.backbones.features import read_pixels
from ml.backbones.int8.parity import compare_backbones
from ml.backbones.int8.quantisation import CALIBRATION_IMAGES, quantise_backbone
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.preprocessing import PREPROCESSING_VERSION
from ml.backbones.registered import find_backbone
from ml.catalog import locks
from ml.catalog.database import Catalog
from ml.catalog.models import backbone_records
from ml.catalog.models.backbone_records import StoredBackbone
from ml.catalog.object_store import backbone_key
from ml.catalog.snapshots.stored_snapshots import Snapshot, SnapshotItem
from ml.data.class_sampling import take_evenly
from ml.errors import ModelLoadError, SettingsError, WeightsError
from ml.progress import Progress
from ml.settings import Precision, Settings

logger = logging.getLogger(__name__)


FINETUNED = "finetuned:"  # prefix of the recipe of fine-tuned weights


@dataclass(frozen=True)
class ServedBackbone:
    """The backbone that training, scoring and serving share.

    Args:
        backbone: its name in ml.backbones.registered.
        onnx: the ONNX file that computes features and serves.
        backbone_id: the id of `onnx`.
        fp32_onnx: the same backbone before quantisation; Keras' weights are read from it. Equal to `onnx` in fp32.
        weights_recipe: `random:<seed>`, or `imagenet:`, `bundled:`, `file:` or `finetuned:` and a SHA-256.
        precision: arithmetic of `onnx`, int8 or fp32.
        image_size: side of the square input, pixels.
        precision_reason: why this precision, in a sentence.
        reduce_range: whether the int8 weights have 7 bits, which saturate on no CPU.
    """

    backbone: str
    onnx: bytes = field(repr=False)
    backbone_id: str
    fp32_onnx: bytes = field(repr=False)
    weights_recipe: str
    precision: Precision
    image_size: int
    precision_reason: str = ""
    reduce_range: bool = False


def make_served_backbone(
    catalog: Catalog,
    settings: Settings,
    backbone: Backbone,
    weights: BackboneWeights,
    image_size: int,
    snapshot: Snapshot,
    on_progress: Progress | None = None,
) -> ServedBackbone:
    """Return the backbone with these weights, at the precision of the settings. Make it if it is not stored yet.

    Args:
        image_size: side of the square input, pixels.
        snapshot: gives the images for calibrating a new backbone, and for comparing int8 with fp32.
        on_progress: called with (images done, images to do) while a new backbone is made.
    Raises: WeightsError, a stored file has changed; SettingsError, the image size is too small for the backbone.
    """
    recipe = f"{backbone.name} {weights.recipe} {image_size}px {_wanted(settings)} {PREPROCESSING_VERSION}"
    with catalog.lock(locks.recipe_lock(recipe)):
        with catalog.begin() as connection:
            stored = backbone_records.find_backbone_by_recipe(connection, recipe)
        if stored is None:
            stored = _make(catalog, settings, recipe, backbone, weights, image_size, snapshot, on_progress)
            with catalog.begin() as connection:
                stored = backbone_records.save_backbone(connection, stored)
    return _open(catalog, stored)


def make_int8(
    catalog: Catalog,
    backbone: Backbone,
    fp32_onnx: bytes,
    image_size: int,
    snapshot: Snapshot,
    on_progress: Progress | None = None,
) -> bytes:
    """Quantise a backbone, whether int8 will be accepted or not. Equal arguments give equal bytes on one machine.

    Args:
        fp32_onnx: what the backbone's `export_onnx` returned.
        image_size: side of the square input, pixels.
        snapshot: its training images measure the ranges.
        on_progress: called with (images done, images to do).
    """
    chosen = [item.demand_image() for item in _calibration_items(snapshot)]
    pixels = read_pixels(catalog, chosen, image_size)
    return quantise_backbone(fp32_onnx, pixels, backbone.kept_in_fp32, int8_saturates(), on_progress)


def load_served_backbone(catalog: Catalog, backbone_id: str) -> ServedBackbone:
    """Return a backbone that this deployment made before.

    Raises: WeightsError, this deployment never made it, or a stored file has changed.
    """
    onnx_sha256, _, preprocessing = backbone_id.partition(":")
    with catalog.begin() as connection:
        stored = backbone_records.find_backbone_by_bytes(connection, onnx_sha256)
    if stored is None or preprocessing != PREPROCESSING_VERSION:
        raise WeightsError(
            f"Expected a backbone that this deployment made, for preprocessing {PREPROCESSING_VERSION}. "
            f"Received: {backbone_id}. Retrain: that makes a backbone."
        )
    return _open(catalog, stored)


def finetuned_weights(catalog: Catalog, version: int, backbone: Backbone) -> BackboneWeights | None:
    """Return the backbone weights of a version; None unless it is this backbone and was fine-tuned here."""
    with catalog.begin() as connection:
        stored = backbone_records.find_backbone_of_version(connection, version)
    if stored is None or stored.backbone != backbone.name or not stored.weights_recipe.startswith(FINETUNED):
        return None
    return backbone.read_onnx(_get(catalog, stored.fp32_sha256), stored.weights_recipe)


def find_base_backbone(connection: sa.Connection, backbone_id: str) -> str:
    """Return the id of the backbone that a fine-tuned one started from. Another backbone is its own base.

    That is the latest one with the same name and image size that was not fine-tuned.
    """
    _, _, preprocessing = backbone_id.partition(":")
    base = _find_base(connection, backbone_id)
    return backbone_id if base is None else f"{base.onnx_sha256}:{preprocessing}"


def find_base_recipe(connection: sa.Connection, backbone_id: str) -> str:
    """Return the recipe of the weights that a backbone's fine-tuning started from; its own if it was not fine-tuned."""
    base = _find_base(connection, backbone_id)
    return "" if base is None else base.weights_recipe


def _find_base(connection: sa.Connection, backbone_id: str) -> StoredBackbone | None:
    onnx_sha256, _, _ = backbone_id.partition(":")
    stored = backbone_records.find_backbone_by_bytes(connection, onnx_sha256)
    if stored is None or not stored.weights_recipe.startswith(FINETUNED):
        return stored
    return backbone_records.find_latest_backbone(connection, stored.backbone, stored.image_size, outside=FINETUNED)


def count_tunable_layers(connection: sa.Connection, version: int) -> int | None:
    """Count the layers of a version's backbone that fine-tuning can train; None if its backbone was not made here."""
    stored = backbone_records.find_backbone_of_version(connection, version)
    return None if stored is None else len(find_backbone(stored.backbone).tunable_layers)


def _wanted(settings: Settings) -> str:
    """Return the part of the recipe that decides the precision.

    Another minimum agreement, or a machine where int8 saturates, gives another recipe: the comparison runs again.
    """
    if settings.model_precision == "fp32":
        return "fp32"
    return f"int8{'-7bit' if int8_saturates() else ''}>={settings.int8_minimum_agreement:g}"


def _make(
    catalog: Catalog,
    settings: Settings,
    recipe: str,
    backbone: Backbone,
    weights: BackboneWeights,
    image_size: int,
    snapshot: Snapshot,
    on_progress: Progress | None,
) -> StoredBackbone:
    fp32_onnx = _export(backbone, weights, image_size)
    fp32_sha256 = _keep(catalog, fp32_onnx)
    fp32 = StoredBackbone(recipe, backbone.name, fp32_sha256, fp32_sha256, weights.recipe, "fp32", image_size, None)
    if settings.model_precision == "fp32":
        return fp32
    int8_onnx = make_int8(catalog, backbone, fp32_onnx, image_size, snapshot, on_progress)
    parity = compare_backbones(
        catalog,
        OnnxBackbone(fp32_onnx),
        OnnxBackbone(int8_onnx),
        snapshot,
        settings.int8_minimum_agreement,
        on_progress,
    )
    is_int8 = parity.decision == "int8"
    logger.log(logging.INFO if is_int8 else logging.WARNING, "Backbone %s: %s", weights.recipe, parity.reason)
    calibration_images = len(_calibration_items(snapshot))
    facts = {**asdict(parity), "calibration_images": calibration_images, "reduce_range": int8_saturates()}
    if not is_int8:
        return replace(fp32, parity=facts)
    return replace(fp32, onnx_sha256=_keep(catalog, int8_onnx), precision="int8", parity=facts)


def _calibration_items(snapshot: Snapshot) -> list[SnapshotItem]:
    return take_evenly([item for item in snapshot.items if item.fold == "train"], CALIBRATION_IMAGES)


def _export(backbone: Backbone, weights: BackboneWeights, image_size: int) -> bytes:
    if image_size < (least := backbone.minimum_image_size):
        raise SettingsError(f"MYCOFLOW_IMAGE_SIZE: expected {least} or more for {backbone.name}, got {image_size}.")
    onnx = backbone.export_onnx(weights, image_size)
    if (count := OnnxBackbone(onnx).feature_count) != backbone.feature_count:
        raise ModelLoadError(
            f"Expected {backbone.feature_count} features from the ONNX file of {backbone.name}. Received: {count}. "
            "Do not use this backbone; report its export as a defect."
        )
    return onnx


def _keep(catalog: Catalog, content: bytes) -> str:
    """Store a file under its hash, before the row that names it: after a crash, no row names a missing file."""
    sha256 = hashlib.sha256(content).hexdigest()
    catalog.store.put(backbone_key(sha256), content)
    return sha256


def _get(catalog: Catalog, sha256: str) -> bytes:
    content = catalog.store.get(backbone_key(sha256))
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(
            f"Expected the backbone {sha256} at {backbone_key(sha256)} in the image store. The bytes there "
            "have another hash. Delete that object and its row in training.backbones, then try again."
        )
    return content


def _open(catalog: Catalog, stored: StoredBackbone) -> ServedBackbone:
    onnx = _get(catalog, stored.onnx_sha256)
    is_int8 = stored.precision == "int8"
    facts = stored.parity or {"reason": "MYCOFLOW_MODEL_PRECISION asks for fp32.", "reduce_range": False}
    return ServedBackbone(
        backbone=stored.backbone,
        onnx=onnx,
        backbone_id=f"{stored.onnx_sha256}:{PREPROCESSING_VERSION}",
        fp32_onnx=_get(catalog, stored.fp32_sha256) if is_int8 else onnx,
        weights_recipe=stored.weights_recipe,
        precision="int8" if is_int8 else "fp32",
        image_size=stored.image_size,
        precision_reason=str(facts["reason"]),
        reduce_range=is_int8 and bool(facts["reduce_range"]),
    )
