"""Compare backbones on one's own images: how well a head on each names them, and what each costs on this machine.

`plan_comparison` checks everything, `run_comparison` computes. The networks are those that would serve, and their
features go into the cache: a second comparison is quick, and a retraining finds them there. A comparison changes no
choice of the home and makes no snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ml.app import Workspace
from ml.backbones.features import ensure_views, read_pixels
from ml.backbones.onnx_runtime import OnnxBackbone, backbone_id
from ml.backbones.served_backbone import make_int8, make_served_backbone
from ml.backbones.views import training_views
from ml.confidence.estimation import observed_accuracy
from ml.confidence.paired_scores import difference_p_value, holm, mean_gain
from ml.progress import Progress, StepProgress
from ml.training.comparison.candidates import Candidate, ComparisonRequest, check_request, choose_candidates
from ml.training.comparison.compared_backbones import ComparedBackbone, Comparison
from ml.training.comparison.compared_images import ComparedImages, Names, name_out_of_group, read_images
from ml.training.comparison.comparison_runs import log_comparison
from ml.training.comparison.network_costs import measure_memory, measure_milliseconds

SPEED, MEMORY = "speed", "memory"


@dataclass(frozen=True)
class ComparisonPlan:
    """A comparison whose networks and images were checked."""

    candidates: Sequence[Candidate]
    images: ComparedImages

    @property
    def steps(self) -> list[str]:
        """Return the names of the steps, in order."""
        return [*(candidate.label for candidate in self.candidates), SPEED, MEMORY]


@dataclass(frozen=True)
class _Network:
    """A candidate's ONNX file, and the names that a head on it gave to the images.

    Args: reason, why a retraining would refuse it; empty if it would not.
    """

    candidate: Candidate
    onnx: bytes = field(repr=False)
    reason: str
    names: Names
    feature_count: int


def plan_comparison(workspace: Workspace, request: ComparisonRequest, snapshot_id: int | None) -> ComparisonPlan:
    """Check everything that a comparison needs. Weights may be downloaded.

    Args: snapshot_id, the snapshot to compare on; None for the images that a retraining would take now.
    Raises: SettingsError, WeightsError, SnapshotError, EvaluationSetError, MissingPartError.
    """
    check_request(request)
    images = read_images(workspace, snapshot_id, needs_evaluation_set="int8" in request.precisions)
    return ComparisonPlan(choose_candidates(workspace.catalog, workspace.settings, request), images)


def run_comparison(workspace: Workspace, plan: ComparisonPlan, on_step: StepProgress | None = None) -> Comparison:
    """Compare the networks of a plan, and log the comparison to MLflow.

    Args: on_step, called with (one of the plan's steps, done, total).
    Raises: ImageStoreError, an image's bytes cannot be read; ModelLoadError, RegistryUnavailableError.
    """
    report = on_step or (lambda _step, _done, _total: None)
    with log_comparison(workspace, plan.images, len(plan.candidates)) as log:
        networks = [_name_images(workspace, each, plan.images, report) for each in plan.candidates]
        milliseconds = _measure_speed(workspace, networks, plan.images, report)
        memory = [_measure_memory(each, index, len(networks), report) for index, each in enumerate(networks)]
        costs = zip(milliseconds, memory, strict=True)
        rows = [_describe(each, plan.images, *cost) for each, cost in zip(networks, costs, strict=True)]
        comparison = Comparison(
            images=plan.images.name,
            image_count=len(plan.images.labels),
            group_count=len(set(plan.images.groups.tolist())),
            rows=_compare_with_best(rows, networks, plan.images),
            mlflow_run_id=log.mlflow_run_id,
        )
        log.finish(comparison)
    return comparison


def _name_images(workspace: Workspace, candidate: Candidate, images: ComparedImages, on_step: StepProgress) -> _Network:
    def report(done: int, total: int) -> None:
        on_step(candidate.label, done, total)

    onnx, reason = _make_network(workspace, candidate, images, report)
    network, settings = OnnxBackbone(onnx), workspace.settings
    features = ensure_views(
        workspace.catalog,
        network.features,
        backbone_id(onnx),
        candidate.image_size,
        images.sha256s,
        training_views(settings.mirrored_views, settings.rotated_views, settings.zoomed_views),
        report,
    )
    names = name_out_of_group(features, images)
    report(len(images.sha256s), len(images.sha256s))
    return _Network(candidate, onnx, reason, names, network.feature_count)


def _make_network(
    workspace: Workspace, candidate: Candidate, images: ComparedImages, on_progress: Progress
) -> tuple[bytes, str]:
    """Return the ONNX file of a candidate, and the reason why a retraining would refuse it, or nothing."""
    served = make_served_backbone(
        workspace.catalog,
        workspace.settings.model_copy(update={"model_precision": candidate.precision}),
        candidate.backbone,
        candidate.weights,
        candidate.image_size,
        images.snapshot,
        on_progress,
    )
    if served.precision == candidate.precision:
        return served.onnx, ""
    fp32, size = served.fp32_onnx, candidate.image_size
    int8 = make_int8(workspace.catalog, candidate.backbone, fp32, size, images.snapshot, on_progress)
    return int8, served.precision_reason


def _measure_speed(
    workspace: Workspace, networks: Sequence[_Network], images: ComparedImages, on_step: StepProgress
) -> list[float]:
    pixels = [read_pixels(workspace.catalog, images.sha256s[:1], network.candidate.image_size) for network in networks]
    return measure_milliseconds(
        [network.onnx for network in networks], pixels, lambda done, total: on_step(SPEED, done, total)
    )


def _measure_memory(network: _Network, index: int, total: int, on_step: StepProgress) -> float:
    megabytes = measure_memory(network.onnx)
    on_step(MEMORY, index + 1, total)
    return megabytes


def _describe(network: _Network, images: ComparedImages, milliseconds: float, memory_mb: float) -> ComparedBackbone:
    from sklearn.metrics import f1_score  # noqa: PLC0415 - a second

    right = int((network.names == images.labels).sum())
    accuracy, candidate = observed_accuracy(right, len(images.labels)), network.candidate
    assert accuracy is not None  # noqa: S101 - there are images
    return ComparedBackbone(
        backbone=candidate.backbone.name,
        weights=candidate.weights_name,
        weights_recipe=candidate.weights.recipe,
        image_size=candidate.image_size,
        precision=candidate.precision,
        backbone_id=backbone_id(network.onnx),
        feature_count=network.feature_count,
        accuracy=accuracy.share,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        f1_macro=float(f1_score(images.labels, network.names, average="macro", zero_division=0)),
        difference=0.0,
        p_value=1.0,
        milliseconds=milliseconds,
        memory_mb=memory_mb,
        refused=network.reason,
    )


def _compare_with_best(
    rows: Sequence[ComparedBackbone], networks: Sequence[_Network], images: ComparedImages
) -> list[ComparedBackbone]:
    """Add how far each is behind the one with the highest accuracy. Of equally accurate ones, the fastest is best."""
    scores = [_scores(network, images) for network in networks]
    best = min(range(len(rows)), key=lambda index: (-rows[index].accuracy, rows[index].milliseconds))
    others = [index for index in range(len(rows)) if index != best]
    p_values = holm([difference_p_value(scores[index], scores[best], images.groups) for index in others])
    found = dict(zip(others, p_values, strict=True))
    return [
        replace(row, difference=mean_gain(scores[index], scores[best], images.groups)[0], p_value=found.get(index, 1.0))
        for index, row in enumerate(rows)
    ]


def _scores(network: _Network, images: ComparedImages) -> NDArray[np.float64]:
    return np.asarray(network.names == images.labels, np.float64)
