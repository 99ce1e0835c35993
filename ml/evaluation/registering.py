"""Register a model that somebody trained elsewhere: any MLflow run that logged an image classifier."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml.app import Workspace, keep_home
from ml.backbones.features import BATCH_IMAGES, read_pixels
from ml.backbones.onnx_runtime import Floats
from ml.backbones.scales import PLAIN, SCALES
from ml.catalog.models.attempts import StoredVerdict
from ml.data.evaluation_sets import current_evaluation_set
from ml.errors import ModelLoadError
from ml.evaluation.judging import judge_challenger, tell_verdict
from ml.evaluation.scoring import score_version
from ml.progress import Progress
from ml.registry.foreign_runs import CONVERSION_EXPERIMENT, CONVERSION_TAG, CONVERTED_FROM_TAG, check_classes
from ml.tasks.base import Converted, ForeignNetwork, demand_converting
from ml.tasks.registered import load_model

# float32 sums in another order move a probability by some 1e-6. A wrong layout or scale moves it by tenths.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Statement:
    """What a person says of a foreign model where its files do not say it.

    Args:
        image_size: side of its square input, pixels.
        scale: how it wants its pixels, a name in `SCALES`.
        classes: their names, in the order of its outputs.
    """

    image_size: int | None = None
    scale: str | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Registration:
    """A model that was registered.

    Args: notes, how it was converted, a sentence each; empty for a model of our own signature.
    """

    verdict: StoredVerdict
    notes: Sequence[str]


def register_run(
    workspace: Workspace,
    mlflow_run_id: str,
    statement: Statement = Statement(),
    on_progress: Progress | None = None,
) -> Registration:
    """Make a version of a run's model, score it and let the gate judge it. A person promotes it, or nobody.

    A model of another form than ours is converted first, and must then answer as the original does on the evaluation
    set. Again for the same run: the same version, scored and judged on how things are now. Whether it learned from
    images of the evaluation set, nobody here can tell.

    Args:
        statement: what the model's files do not say.
        on_progress: called with (images computed, images to compute).
    Raises:
        UnknownVersionError: there is no such run, or it logged no model.
        ModelLoadError: the model cannot be converted, or does not load and answer; nothing is registered then.
        EvaluationSetError: there are no images to try a converted model on.
    """
    notes: Sequence[str] = ()
    if workspace.registry.holds_bundle(mlflow_run_id):
        with tempfile.TemporaryDirectory() as folder:
            load_model(workspace.task, workspace.registry.download_logged(mlflow_run_id, Path(folder)))
    else:
        mlflow_run_id, notes = _convert(workspace, mlflow_run_id, statement)
    with workspace.catalog.begin() as connection:
        keep_home(connection, workspace.settings)
    version = workspace.registry.register(mlflow_run_id, {"verdict": "pending"})
    score_version(workspace, version, None, on_progress)
    verdict = judge_challenger(workspace, version)
    tell_verdict(workspace, verdict)
    return Registration(verdict, notes)


def _convert(workspace: Workspace, mlflow_run_id: str, statement: Statement) -> tuple[str, list[str]]:
    """Log what a run's model is converted into as a run of its own.

    Returns: that run's MLflow id, and how it was done.
    """
    from ml.registry.convert import open_original  # noqa: PLC0415 - imports what can open TensorFlow's files

    registry = workspace.registry
    with tempfile.TemporaryDirectory() as folder:
        original = open_original(registry.download_foreign(mlflow_run_id, Path(folder)), statement.image_size)
        image_size = _agree_on_size(original.image_size, statement.image_size)
        scale_name = _choose_scale(original.scales_itself, statement.scale)
        scale = SCALES[scale_name]
        outputs = _answer(workspace, lambda pixels: original.answer(scale.apply(pixels)), image_size)
        classes = statement.classes or registry.read_classes(mlflow_run_id) or ()
        check_classes(classes, outputs.shape[1])
        bundle = Path(folder) / "bundle"
        bundle.mkdir()
        network = ForeignNetwork(mlflow_run_id, original.onnx, image_size, scale_name, tuple(classes), outputs)
        converted = demand_converting(workspace.task).convert(network, bundle)
        notes = _describe(original.kind, image_size, scale_name, converted)
        conversion = hashlib.sha256(json.dumps([image_size, scale_name, classes]).encode()).hexdigest()
        found = registry.find_conversion(mlflow_run_id, conversion)
        if found is not None:
            return found, notes
        model = load_model(workspace.task, bundle)
        answers = _answer(workspace, lambda pixels: model.predict(pixels).probabilities, image_size)
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


def _agree_on_size(its_own: int | None, stated: int | None) -> int:
    size = its_own or stated
    if size is None:
        raise ModelLoadError(
            "Expected the side of the images in pixels: this network takes any. Received none. Give --image-size."
        )
    if stated not in (None, size):
        raise ModelLoadError(
            f"Expected --image-size {size}, which is what this network takes. Received: {stated}. Leave it out."
        )
    return size


def _choose_scale(scales_itself: bool, stated: str | None) -> str:
    if stated is None and not scales_itself:
        raise ModelLoadError(
            "Expected to know how the network wants its pixels: it does not begin with a layer that scales them. Give "
            f"--scale, one of {', '.join(SCALES)}: the ranges 0 to 255, 0 to 1, -1 to 1, or the ImageNet statistics of "
            "PyTorch or Caffe."
        )
    if stated not in (None, *SCALES):
        raise ModelLoadError(f"Expected --scale to be one of {', '.join(SCALES)}. Received: {stated!r}.")
    return stated or PLAIN


def _answer(workspace: Workspace, answer: Callable[[NDArray[np.uint8]], Floats], image_size: int) -> Floats:
    """Ask for the evaluation set's images, a batch at a time.

    Returns: finite values, float32 (images, classes).
    """
    with workspace.catalog.begin() as connection:
        sha256s = [member.demand_image() for member in current_evaluation_set(connection)[1]]
    starts = range(0, len(sha256s), BATCH_IMAGES)
    batches = [sha256s[start : start + BATCH_IMAGES] for start in starts]
    parts = []
    for batch in batches:
        given = np.asarray(answer(read_pixels(workspace.catalog, batch, image_size)), np.float32)
        if given.ndim != 2 or len(given) != len(batch) or not np.isfinite(given).all():
            raise ModelLoadError(
                f"Expected finite values of the shape ({len(batch)}, classes) for {len(batch)} images. Received the "
                f"shape {given.shape}, {np.isfinite(given).mean():.0%} of them finite. Log the classifier alone."
            )
        parts.append(given)
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


def _describe(kind: str, image_size: int, scale: str, converted: Converted) -> list[str]:
    return [
        f"Converted from {kind} that takes {image_size} pixels, scaled as {scale}.",
        *converted.notes,
        "`mycoflow finetune` cannot go on from it; `mycoflow retrain` trains on this home's own backbone.",
    ]
