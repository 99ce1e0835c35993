"""Register a model that was trained outside Mycoflow: of any MLflow run that logged an image classifier."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.app import Workspace, known_runs
from ml.backbones.features import BATCH_IMAGES, read_pixels
from ml.backbones.onnx_runtime import Floats
from ml.backbones.scales import PLAIN, SCALES
from ml.catalog.home_choices import keep_home
from ml.catalog.models.verdicts import StoredVerdict
from ml.data.evaluation_sets import current_evaluation_set
from ml.errors import ModelLoadError
from ml.evaluation.judging import judge_challenger, record_verdict
from ml.evaluation.scoring import score_version
from ml.progress import Progress
from ml.registry.foreign_runs import CONVERSION_TAG, CONVERTED_FROM_TAG, check_classes
from ml.registry.mlflow_runs import CONVERSION_EXPERIMENT
from ml.tasks.registered_tasks import load_model
from ml.tasks.task import ConvertedModel, ForeignNetwork, demand_converting

# Another order of float32 sums changes a probability by about 1e-6. A wrong layout or scale changes it by tenths.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class ModelDescription:
    """Facts about a foreign model that a person states because the model's files do not have them.

    Args:
        image_size: side of its square input, pixels.
        scale: the scaling of its input pixels, a name in `SCALES`.
        classes: names of its classes, in the order of its outputs.
    """

    image_size: int | None = None
    scale: str | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Registration:
    """A model that was registered.

    Args: notes, sentences on how it was converted; empty for a bundle that Mycoflow wrote.
    """

    verdict: StoredVerdict
    notes: Sequence[str]


def register_run(
    workspace: Workspace,
    mlflow_run_id: str,
    description: ModelDescription = ModelDescription(),
    on_progress: Progress | None = None,
) -> Registration:
    """Register a run's model as a version, score it and let the gate judge it. Only a person can promote it.

    A model that Mycoflow did not write is converted first, and must then give the original's answers on the evaluation
    set. A second call for the same run returns the same version, scored and judged again. It is not known whether the
    model learned from images of the evaluation set.

    Args:
        description: facts that the model's files do not have.
        on_progress: called with (images computed, images to compute).
    Raises:
        UnknownVersionError: there is no such run, or it logged no model.
        ModelLoadError: the model cannot be converted, or does not load and answer; nothing is registered then.
        EvaluationSetError: there are no images on which to check a converted model.
    """
    notes: Sequence[str] = ()
    if workspace.registry.holds_bundle(mlflow_run_id):
        with tempfile.TemporaryDirectory() as folder:
            load_model(workspace.task, workspace.registry.download_logged(mlflow_run_id, Path(folder)))
    else:
        mlflow_run_id, notes = _convert(workspace, mlflow_run_id, description)
    with workspace.catalog.begin() as connection:
        keep_home(connection, workspace.settings)
    version = workspace.registry.register(mlflow_run_id, {"verdict": "pending"}, known_runs(workspace))
    score_version(workspace, version, None, on_progress)
    verdict = judge_challenger(workspace, version)
    record_verdict(workspace, verdict)
    return Registration(verdict, notes)


def _convert(workspace: Workspace, mlflow_run_id: str, description: ModelDescription) -> tuple[str, list[str]]:
    """Convert a run's model, and log the result as a new run.

    Returns: the new run's MLflow id, and sentences on how the model was converted.
    """
    from ml.registry.convert import open_original  # noqa: PLC0415 - may import TensorFlow

    registry = workspace.registry
    with tempfile.TemporaryDirectory() as folder:
        original = open_original(registry.download_foreign(mlflow_run_id, Path(folder)), description.image_size)
        image_size = _choose_size(original.image_size, description.image_size)
        scale_name = _choose_scale(original.scales_itself, description.scale)
        scale = SCALES[scale_name]
        outputs = _answer_evaluation_set(workspace, lambda pixels: original.answer(scale.apply(pixels)), image_size)
        stated = description.classes or registry.read_classes(mlflow_run_id) or ()
        classes = check_classes(stated, outputs.shape[1])
        bundle = Path(folder) / "bundle"
        bundle.mkdir()
        network = ForeignNetwork(mlflow_run_id, original.onnx, image_size, scale_name, classes, outputs)
        converted = demand_converting(workspace.task).convert(network, bundle)
        notes = _describe(original.kind, image_size, scale_name, converted)
        conversion = hashlib.sha256(json.dumps([image_size, scale_name, classes]).encode()).hexdigest()
        found = registry.find_conversion(mlflow_run_id, conversion)
        if found is not None:
            return found, notes
        model = load_model(workspace.task, bundle)
        answers = _answer_evaluation_set(workspace, lambda pixels: model.predict(pixels).probabilities, image_size)
        difference = _compare(answers, converted.probabilities)
        card = model.card
        tags = {
            CONVERTED_FROM_TAG: mlflow_run_id,
            CONVERSION_TAG: conversion,
            "task": card.task,
            "backbone": card.backbone,
            "backbone_weights": card.backbone_weights,
            "backbone_id": card.backbone_id,
            "precision": card.precision,
            "precision_reason": card.precision_reason,
        }
        with registry.run(CONVERSION_EXPERIMENT, f"of {mlflow_run_id}", tags) as run:
            run.log_metrics({"conversion_maximum_difference": difference, "conversion_images": len(answers)})
            run.log_model(bundle)
    return run.mlflow_run_id, notes


def _choose_size(fixed: int | None, stated: int | None) -> int:
    size = fixed or stated
    if size is None:
        raise ModelLoadError(
            "Expected the side of the images in pixels, because this network takes any size. Received none. "
            "Give --image-size."
        )
    if stated not in (None, size):
        raise ModelLoadError(
            f"Expected --image-size {size}, the size that this network takes. Received: {stated}. Leave it out."
        )
    return size


def _choose_scale(scales_itself: bool, stated: str | None) -> str:
    if stated is None and not scales_itself:
        raise ModelLoadError(
            "Expected the scaling of the network's pixels, because its first layer does not scale them. Received none. "
            f"Give --scale, one of {', '.join(SCALES)}: the ranges 0 to 255, 0 to 1, -1 to 1, or the ImageNet "
            "statistics of PyTorch or Caffe."
        )
    if stated not in (None, *SCALES):
        raise ModelLoadError(f"Expected --scale to be one of {', '.join(SCALES)}. Received: {stated!r}.")
    return stated or PLAIN


def _answer_evaluation_set(
    workspace: Workspace, answer: Callable[[NDArray[np.uint8]], Floats], image_size: int
) -> Floats:
    """Compute the answers to the images of the evaluation set, in batches.

    Returns: finite values, float32 (images, classes).
    """
    with workspace.catalog.begin() as connection:
        sha256s = [member.demand_image() for member in current_evaluation_set(connection)[1]]
    starts = range(0, len(sha256s), BATCH_IMAGES)
    batches = [sha256s[start : start + BATCH_IMAGES] for start in starts]
    parts = []
    for batch in batches:
        outputs = np.asarray(answer(read_pixels(workspace.catalog, batch, image_size)), np.float32)
        if outputs.ndim != 2 or len(outputs) != len(batch) or not np.isfinite(outputs).all():
            raise ModelLoadError(
                f"Expected finite values of the shape ({len(batch)}, classes) for {len(batch)} images. Received the "
                f"shape {outputs.shape}, {np.isfinite(outputs).mean():.0%} of them finite. Log the classifier alone."
            )
        parts.append(outputs)
    return np.concatenate(parts)


def _compare(received: Floats, expected: Floats) -> float:
    difference = float(np.abs(received - expected).max())
    if not difference <= TOLERANCE:
        raise ModelLoadError(
            f"Expected the converted network to answer within {TOLERANCE} of the original on {len(expected)} images of "
            f"the evaluation set. Received: values {difference:.2g} apart. Nothing is registered; export the model "
            "to ONNX yourself, and report the defect."
        )
    return difference


def _describe(kind: str, image_size: int, scale: str, converted: ConvertedModel) -> list[str]:
    return [
        f"Converted from {kind} that takes {image_size} pixels, scaled as {scale}.",
        *converted.notes,
        "`mycoflow finetune` cannot train it further; `mycoflow retrain` uses this home's own backbone.",
    ]
