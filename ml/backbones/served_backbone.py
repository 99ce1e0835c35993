"""One backbone per recipe, made once and shared: whoever computes features or serves uses the same bytes."""

import hashlib
import logging
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import sqlalchemy as sa

from ml.backbones.base import Backbone, BackboneWeights
from ml.backbones.cpus import int8_saturates
from ml.backbones.features import read_pixels
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.parity import compare_backbones
from ml.backbones.preprocessing import PREPROCESSING_VERSION
from ml.backbones.quantisation import CALIBRATION_IMAGES, quantise_backbone
from ml.backbones.registered import find_backbone
from ml.catalog import locks
from ml.catalog.database import Catalog
from ml.catalog.models import backbone_records
from ml.catalog.models.backbone_records import StoredBackbone
from ml.catalog.object_store import backbone_key
from ml.catalog.snapshots.stored_snapshots import Snapshot
from ml.data.class_sampling import take_evenly
from ml.errors import ModelLoadError, SettingsError, WeightsError
from ml.progress import Progress
from ml.settings import Settings

logger = logging.getLogger(__name__)

Precision = Literal["int8", "fp32"]

FINETUNED = "finetuned:"  # how the recipe of fine-tuned weights begins


@dataclass(frozen=True)
class ServedBackbone:
    """A backbone as everybody uses it.

    Args:
        backbone: its name in ml.backbones.registered.
        onnx: the ONNX file that computes features and serves.
        backbone_id: of these bytes.
        fp32_onnx: the same backbone before quantisation, where Keras' weights are read from; `onnx` itself in fp32.
        weights_recipe: `random:<seed>`, or `imagenet:`, `file:` or `finetuned:` and a SHA-256.
        precision: arithmetic of `onnx`, int8 or fp32.
        image_size: side of the square input, pixels.
        precision_reason: why this precision, in a sentence.
        reduce_range: the int8 weights have 7 bits, which saturate on no CPU.
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
    """The backbone of weights that somebody has in hand, at the precision of the settings; made once.

    Args:
        image_size: side of the square input, pixels.
        snapshot: gives the images that a new backbone is calibrated and compared on.
        on_progress: called with (images done, images to do) while one is made.
    Raises: WeightsError, a stored file is not the one that was made; SettingsError, the input is too small.
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


def load_served_backbone(catalog: Catalog, backbone_id: str) -> ServedBackbone:
    """A backbone that was made here before.

    Raises: WeightsError, it never was, or a stored file is not the one that was made.
    """
    onnx_sha256, _, preprocessing = backbone_id.partition(":")
    with catalog.begin() as connection:
        stored = backbone_records.find_backbone_by_bytes(connection, onnx_sha256)
    if stored is None or preprocessing != PREPROCESSING_VERSION:
        raise WeightsError(
            f"Expected a backbone that was made in this deployment, for preprocessing {PREPROCESSING_VERSION}. "
            f"Received: {backbone_id}. Retrain to make one."
        )
    return _open(catalog, stored)


def finetuned_weights(catalog: Catalog, version: int, backbone: Backbone) -> BackboneWeights | None:
    """The weights of a version's backbone, where that is this backbone, fine-tuned here."""
    with catalog.begin() as connection:
        stored = backbone_records.find_backbone_of_version(connection, version)
    if stored is None or stored.backbone != backbone.name or not stored.weights_recipe.startswith(FINETUNED):
        return None
    return backbone.read_onnx(_get(catalog, stored.fp32_sha256), stored.weights_recipe)


def count_tunable_layers(connection: sa.Connection, version: int) -> int | None:
    """How many layers of a version's backbone fine-tuning can train; None where its backbone was not made here."""
    stored = backbone_records.find_backbone_of_version(connection, version)
    return None if stored is None else len(find_backbone(stored.backbone).tunable_layers)


def _wanted(settings: Settings) -> str:
    """What decides about the precision. Another minimum, or a machine that saturates, is another question."""
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
    reduce_range = int8_saturates()
    chosen = take_evenly([image for image in snapshot.images if image.fold == "train"], CALIBRATION_IMAGES)
    pixels = read_pixels(catalog, [image.sha256 for image in chosen], image_size)
    int8_onnx = quantise_backbone(fp32_onnx, pixels, backbone.kept_in_fp32, reduce_range, on_progress)
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
    facts = {**asdict(parity), "calibration_images": len(chosen), "reduce_range": reduce_range}
    if not is_int8:
        return replace(fp32, parity=facts)
    return replace(fp32, onnx_sha256=_keep(catalog, int8_onnx), precision="int8", parity=facts)


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
    """Store a file under its hash, before the row that names it: a crash between the two leaves nothing that lies."""
    sha256 = hashlib.sha256(content).hexdigest()
    catalog.store.put(backbone_key(sha256), content)
    return sha256


def _get(catalog: Catalog, sha256: str) -> bytes:
    content = catalog.store.get(backbone_key(sha256))
    if hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(
            f"Expected the backbone {sha256} at {backbone_key(sha256)} in the image store; its bytes are others. "
            "Delete that object and its row in training.backbones, then repeat."
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
