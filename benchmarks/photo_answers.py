"""Measure how good a retraining's answers to photos are, and what they know about themselves.

    python -m benchmarks.photo_answers TRAINING EVALUATION [LATER ...] [--foreign FOLDER] [--backbone NAME]
        [--weights WEIGHTS] [--image-size PIXELS] [--mirrored]

TRAINING, EVALUATION and LATER are folders with a sub-folder per class; TRAINING may have a groups.csv. A head is
fitted on TRAINING as a retraining fits it, and calibrated by cross-fitted answers. EVALUATION and each LATER are
answered once: accuracy, calibration, the estimate of the accuracy without labels, and the share called novel.

FOREIGN is a folder of photos of other things, 64 pixels wide. The photos of EVALUATION, made as small and as compressed
as those are, count as known beside them: else a measure of blur would do. And each class in turn is left out of the
training: its photos are novel then.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks.dataset import list_images
from benchmarks.view_accuracy import read_groups
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.preprocessing import to_pixels
from ml.backbones.registered import REGISTERED, find_backbone
from ml.backbones.views import VIEWS, training_views
from ml.confidence.calibration import fit_temperature, measure_calibration
from ml.confidence.cross_fitting import divide_by_group
from ml.confidence.estimation import estimate_accuracy, share_of
from ml.deadlines import Deadline
from ml.tasks.classification.answer_confidence import AnswerConfidence, fit_confidence
from ml.tasks.classification.classification_task import HARVEST_NOVELTY
from ml.tasks.classification.fitting.convex_head import fit_convex_head
from ml.tasks.classification.head import Head

BATCH_IMAGES = 32
HARVEST_CONFIDENCE = 0.70
SMALL_PIXELS, SMALL_QUALITY = 64, 55  # of the foreign photos: WebP
out = Console(soft_wrap=True, highlight=False)


@dataclass(frozen=True)
class Photos:
    """Photos with their features, (views, n, feature count), class indices and groups."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def without(self, label: int) -> "Photos":
        """Return the photos of the other classes, numbered anew."""
        kept = np.flatnonzero(self.labels != label)
        labels = self.labels[kept] - (self.labels[kept] > label)
        return Photos(self.features[:, kept], labels, self.groups[kept])


@dataclass(frozen=True)
class Model:
    """A fitted head with its confidence."""

    head: Head
    confidence: AnswerConfidence

    def answer(self, features: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities."""
        return self.head.classify(features)

    def novelty(self, features: np.ndarray) -> np.ndarray:
        """Return the novelty of images."""
        measure = self.confidence.novelty
        if measure is None:
            return np.zeros(len(features))
        return measure.measure(features, self.answer(features).max(axis=1))

    def harvests(self, features: np.ndarray) -> np.ndarray:
        """Return which images would be harvested."""
        is_sure = self.answer(features).max(axis=1) > HARVEST_CONFIDENCE
        return np.asarray(is_sure & (self.novelty(features) <= HARVEST_NOVELTY))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path)
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("later", type=Path, nargs="*")
    parser.add_argument("--foreign", type=Path)
    parser.add_argument("--backbone", choices=REGISTERED, default="efficientnet_lite0")
    parser.add_argument("--weights", default="imagenet", help="as MYCOFLOW_WEIGHTS")
    parser.add_argument("--image-size", type=int, help="pixels; the backbone's own when missing")
    parser.add_argument("--mirrored", action="store_true", help="train on mirrored photos too")
    asked = parser.parse_args()
    backbone = find_backbone(asked.backbone)
    weights = backbone.resolve_weights(asked.weights)
    network = OnnxBackbone(backbone.export_onnx(weights, asked.image_size or backbone.default_image_size))
    paths = list_images(asked.training)
    classes = sorted({path.parent.name for path in paths})
    seen = _read(network, paths, training_views(asked.mirrored, False, False))
    training = Photos(seen, _label(paths, classes), read_groups(asked.training, paths))
    model = _fit(training, weights.recipe)
    out.print(f"{asked.backbone}, {weights.recipe}, {network.image_size} pixels, {len(paths)} photos")
    out.print(f"temperature {model.confidence.temperature:.2f}; {model.confidence.novelty_reason}")
    _print_answers(model, training, network, classes, [asked.evaluation, *asked.later])
    if asked.foreign and model.confidence.novelty:
        _print_novelty(model, training, weights.recipe, network, asked.evaluation, asked.foreign, classes)


def _fit(photos: Photos, recipe: str) -> Model:
    count = len(photos.labels)
    divisions = divide_by_group(photos.labels, photos.groups.tolist())
    rows = np.arange(count)
    found = fit_convex_head(
        photos.features, photos.labels, int(photos.labels.max()) + 1, divisions, rows, Deadline(3600.0)
    )
    confidence = fit_confidence(
        photos.features[0], photos.labels, found.answers, divisions, rows, not recipe.startswith("random")
    )
    return Model(found.head.at_temperature(confidence.temperature), confidence)


def _print_answers(
    model: Model, training: Photos, network: OnnxBackbone, classes: Sequence[str], folders: Sequence[Path]
) -> None:
    table = Table("photos", "n", "accuracy (95 %)", "calibration error (95 %)", "estimate", "called novel (95 %)")
    known = model.confidence.answers
    _add_row(table, "cross-fitted", known, training.labels, None, None)
    base: tuple[np.ndarray, np.ndarray] | None = None
    for folder in folders:
        paths = list_images(folder)
        features, labels = _read(network, paths, ["identity"])[0], _label(paths, classes)
        answers = model.answer(features)
        base = base or (answers, labels)
        estimate = estimate_accuracy(answers, fit_temperature(*base))
        novelty = model.novelty(features) if model.confidence.novelty else None
        _add_row(table, folder.name, answers, labels, estimate, novelty)
    out.print(table)


def _add_row(
    table: Table, name: str, answers: np.ndarray, labels: np.ndarray, estimate: float | None, novelty: np.ndarray | None
) -> None:
    right = answers.argmax(axis=1) == labels
    accuracy, calibration = share_of(int(right.sum()), len(right)), measure_calibration(answers.max(axis=1), right)
    novel = None if novelty is None else share_of(int((novelty > 1).sum()), len(novelty))
    table.add_row(
        name,
        str(len(labels)),
        f"{accuracy.share:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f})",
        "" if calibration is None else f"{calibration.error:.3f} ({calibration.low:.3f} to {calibration.high:.3f})",
        "" if estimate is None else f"{estimate:.3f}",
        "" if novel is None else f"{novel.share:.3f} ({novel.low:.3f} to {novel.high:.3f})",
    )


def _print_novelty(
    model: Model,
    training: Photos,
    recipe: str,
    network: OnnxBackbone,
    evaluation: Path,
    foreign: Path,
    classes: Sequence[str],
) -> None:
    paths, others = list_images(evaluation), sorted(each for each in foreign.rglob("*") if each.is_file())
    known, labels = _read(network, paths, ["identity"])[0], _label(paths, classes)
    small = _read(network, paths, ["identity"], _make_small)[0]
    strange = _read(network, others, ["identity"])[0]
    out.print(f"{len(others)} foreign photos beside photos made as small: AUROC {_auroc(model, small, strange):.3f}")
    shares = model.harvests(strange).mean(), model.harvests(known).mean()
    out.print(f"  harvested: {shares[0]:.3f} of the foreign, {shares[1]:.3f} of the known photos")
    areas, with_novelty, without = [], 0, 0
    for label, _ in enumerate(classes):
        blind = _fit(training.without(label), recipe)
        left_out = np.concatenate([training.features[0, training.labels == label], known[labels == label]])
        areas.append(_auroc(blind, known[labels != label], left_out))
        with_novelty += int(blind.harvests(left_out).sum())
        without += int((blind.answer(left_out).max(axis=1) > HARVEST_CONFIDENCE).sum())
    out.print(
        f"classes left out, one at a time: mean AUROC {np.mean(areas):.3f} ({min(areas):.3f} to {max(areas):.3f})"
    )
    out.print(f"  harvested: {with_novelty} photos; {without} without novelty")


def _auroc(model: Model, known: np.ndarray, novel: np.ndarray) -> float:
    truth = np.repeat([0, 1], [len(known), len(novel)])
    return float(roc_auc_score(truth, model.novelty(np.concatenate([known, novel]))))


def _read(
    network: OnnxBackbone, paths: Sequence[Path], views: Sequence[str], change: Callable[[bytes], bytes] = bytes
) -> np.ndarray:
    features: list[list[np.ndarray]] = [[] for _ in views]
    for start in range(0, len(paths), BATCH_IMAGES):
        files = [change(path.read_bytes()) for path in paths[start : start + BATCH_IMAGES]]
        pixels = np.stack([to_pixels(each, network.image_size) for each in files])
        for number, view in enumerate(views):
            features[number].append(network.features(VIEWS[view](pixels)))
    return np.stack([np.concatenate(each) for each in features])


def _make_small(content: bytes) -> bytes:
    """Cut out the middle square of a photo, and make it as small and as compressed as the foreign ones."""
    with Image.open(io.BytesIO(content)) as photo:
        rgb = photo.convert("RGB")
    side = min(rgb.size)
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    box, size = (left, top, left + side, top + side), (SMALL_PIXELS, SMALL_PIXELS)
    square = rgb.crop(box).resize(size, Image.Resampling.BICUBIC)
    file = io.BytesIO()
    square.save(file, "WEBP", quality=SMALL_QUALITY)
    return file.getvalue()


def _label(paths: Sequence[Path], classes: Sequence[str]) -> np.ndarray:
    return np.array([classes.index(path.parent.name) for path in paths], np.int64)


if __name__ == "__main__":
    main()
