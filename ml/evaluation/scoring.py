"""Score a model version on the evaluation set. Only images that it never scored cost anything."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.app import Workspace, load_classifier, remember_version
from ml.backbones.features import ensure_features
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import find_item_images
from ml.catalog.logs.results import load_results, save_results
from ml.catalog.models.evaluations import Evaluation, save_evaluation
from ml.data.evaluation_sets import EvaluationItem, current_evaluation_set, deciding_part, load_evaluation_set
from ml.errors import EvaluationSetError
from ml.evaluation.floor import Floor, floor_of, measured_recalls
from ml.progress import Progress
from ml.tasks.classification.card import ModelCard
from ml.tasks.classification.classification_metrics import measure
from ml.tasks.classification.classifier import Output


class Scorer(Protocol):
    """What scoring needs of a ml.tasks.classification.classifier.Classifier."""

    @property
    def card(self) -> ModelCard:
        """What the model expects and answers."""

    def predict(self, images: NDArray[np.uint8]) -> Output:
        """Compute the features of images."""

    def classify(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities from features."""


def score_version(
    workspace: Workspace,
    version: int,
    evaluation_set_version: int | None = None,
    on_progress: Progress | None = None,
) -> list[Evaluation]:
    """Score a version on each part of an evaluation set, on the images of the classes it knows, and keep the figures.

    Args:
        version: a registered model version.
        evaluation_set_version: the set as it is now when None.
        on_progress: called with (images computed, images to compute).
    Raises: UnknownVersionError; EvaluationSetError, the set is empty or holds no image of the version's classes.
    """
    classes = remember_version(workspace, version).classes
    return score_loaded(
        workspace.catalog,
        version,
        classes,
        lambda: load_classifier(workspace, version),
        floor_of(workspace.settings),
        evaluation_set_version,
        on_progress,
    )


def score_loaded(
    catalog: Catalog,
    version: int,
    classes: Sequence[str],
    open_scorer: Callable[[], Scorer],
    floor: Floor,
    evaluation_set_version: int | None = None,
    on_progress: Progress | None = None,
) -> list[Evaluation]:
    """The same for a version that the catalog knows and somebody has loaded, or loads when it is needed.

    Args:
        classes: the version's.
        open_scorer: called when there are images that the version never scored.
        floor: what the figures are compared with.
    Raises: EvaluationSetError as above.
    """
    with catalog.begin() as connection:
        if evaluation_set_version is None:
            evaluation_set_version, members = current_evaluation_set(connection)
        else:
            members = load_evaluation_set(connection, evaluation_set_version)
    known = [member for member in members if member.annotation.label in classes]
    if not known:
        raise EvaluationSetError(
            f"Expected images of the classes of version {version} in the evaluation set ({', '.join(classes)}), found "
            "none. Ingest some with `mycoflow ingest DIR --split evaluation`."
        )
    found = distributions(catalog, version, [member.item_id for member in known], open_scorer, on_progress)
    predicted = {member.item_id: int(found[member.item_id].argmax()) for member in known}
    deciding = deciding_part(known)
    scored = [
        _measure_part(version, evaluation_set_version, part, part == deciding, known, predicted, classes, floor)
        for part in ("anchor", "recent")
        if any(member.part == part for member in known)
    ]
    with catalog.begin() as connection:
        for evaluation in scored:
            save_evaluation(connection, evaluation)
    return scored


def distributions(
    catalog: Catalog,
    version: int,
    item_ids: Sequence[str],
    open_scorer: Callable[[], Scorer],
    on_progress: Progress | None = None,
) -> dict[str, np.ndarray]:
    """What a version says of items with an image, computed and kept where it never was asked before.

    Args: open_scorer, on_progress: as above.
    Returns: item id -> float32 (classes,).
    Raises: ImageStoreError, an image's bytes cannot be read.
    """
    with catalog.begin() as connection:
        scored = load_results(connection, version, item_ids)
        missing = find_item_images(connection, [item_id for item_id in item_ids if item_id not in scored])
    if missing:
        scorer = open_scorer()
        features = ensure_features(
            catalog,
            lambda images: scorer.predict(images).features,
            scorer.card.backbone_id,
            scorer.card.image_size,
            list(missing.values()),
            on_progress,
        )
        scored.update(zip(missing, scorer.classify(features), strict=True))
        with catalog.begin() as connection:
            save_results(connection, version, {item_id: scored[item_id] for item_id in missing})
    return scored


def deciding_evaluation(scored: Sequence[Evaluation]) -> Evaluation:
    """The one of a version's figures that the floor and the gate look at."""
    return next(evaluation for evaluation in scored if evaluation.is_deciding)


def _measure_part(
    version: int,
    evaluation_set_version: int,
    part: str,
    is_deciding: bool,
    members: Sequence[EvaluationItem],
    predicted: dict[str, int],
    classes: Sequence[str],
    floor: Floor,
) -> Evaluation:
    chosen = [member for member in members if member.part == part]
    metrics = measure(
        np.array([classes.index(member.annotation.label) for member in chosen]),
        np.array([predicted[member.item_id] for member in chosen]),
        classes,
    )
    per_class = {name: asdict(figures) for name, figures in metrics.per_class.items()}
    return Evaluation(
        model_version=version,
        evaluation_set_version=evaluation_set_version,
        part=part,
        is_deciding=is_deciding,
        image_count=len(chosen),
        accuracy=metrics.accuracy,
        precision_macro=metrics.precision_macro,
        recall_macro=metrics.recall_macro,
        f1_macro=metrics.f1_macro,
        per_class=per_class,
        confusion=metrics.confusion,
        shortfalls=floor.shortfalls(metrics.accuracy, measured_recalls(per_class)),
    )
