"""Measure false alarms and detections of the nightly drift check, on digits, over many random draws.

    python -m benchmarks.drift_errors

A head on a random backbone is trained on some digits. From the others, each draw takes random images as reference, for
calibration and as recent images. The recent images are unchanged or changed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.vgg16.onnx_export import export_backbone
from ml.backbones.vgg16.weights import resolve_weights
from ml.confidence.calibration import fit_temperature
from ml.confidence.estimation import estimate_accuracy
from ml.deadlines import Deadline
from ml.evaluation.drift import Sample, measure_drift
from ml.tasks.classification.fitting.head_training import train_head

TRAINING, VALIDATION = 700, 100
REFERENCE, CALIBRATION, RECENT = 200, 250, 300
DRAWS = 1000
SIDE_PIXELS = 32

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Seen:
    """The model's answers to the digits that it was not trained on, and their labels."""

    probabilities: NDArray[np.float32]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]

    def part(self, rows: NDArray[np.int64]) -> Sample:
        chosen = self.probabilities[rows]
        return Sample(chosen.max(axis=1), chosen.argmax(axis=1).astype(str), self.features[rows])


def leave(image: Images) -> Images:
    return image


def turn_15(image: Images) -> Images:
    return np.asarray(Image.fromarray(image).rotate(15, Image.Resampling.BILINEAR))


def turn_30(image: Images) -> Images:
    return np.asarray(Image.fromarray(image).rotate(30, Image.Resampling.BILINEAR))


def darken_a_fifth(image: Images) -> Images:
    return (image * 0.8).astype(np.uint8)


def darken_a_half(image: Images) -> Images:
    return (image * 0.5).astype(np.uint8)


CHANGES: dict[str, Callable[[Images], Images]] = {
    "nothing": leave,
    "turned by 15 degrees": turn_15,
    "turned by 30 degrees": turn_30,
    "a fifth darker": darken_a_fifth,
    "half as bright": darken_a_half,
}


def see() -> dict[str, Seen]:
    """Train once, and compute the answers to the unseen digits after each change."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second of import

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images, labels = np.stack([_enlarge(each) for each in digits.images[order]]), digits.target[order].astype(np.int64)
    backbone = OnnxBackbone(export_backbone(resolve_weights("random"), SIDE_PIXELS))
    learned = TRAINING + VALIDATION
    features = backbone.features(images[:learned])
    head = train_head(
        features[:TRAINING],
        labels[:TRAINING],
        features[TRAINING:],
        labels[TRAINING:learned],
        class_count=10,
        seed=0,
        deadline=Deadline(300.0),
    )
    seen = {}
    for name, change in CHANGES.items():
        changed = backbone.features(np.stack([change(image) for image in images[learned:]]))
        seen[name] = Seen(head.classify(changed), changed, labels[learned:])
    return seen


def measure_change(plain: Seen, changed: Seen, draws: int = DRAWS) -> dict[str, float]:
    """Return the medians of the scores over the draws, and the shares of draws with drift."""
    random = np.random.default_rng(1)
    rows = []
    for _ in range(draws):
        order = random.permutation(len(plain.labels))
        reference, calibration, recent = np.split(
            order[: REFERENCE + CALIBRATION + RECENT], [REFERENCE, REFERENCE + CALIBRATION]
        )
        scores = measure_drift(plain.part(reference), changed.part(recent))
        assert scores is not None and scores.features is not None  # noqa: S101 - the samples are large enough
        temperature = fit_temperature(plain.probabilities[calibration], plain.labels[calibration])
        answers = changed.probabilities[recent]
        accuracy = float((answers.argmax(axis=1) == changed.labels[recent]).mean())
        estimate = estimate_accuracy(answers, temperature)
        rows.append(
            {
                **{f"{name} moved": name in scores.moved for name in ("confidence", "classes", "features")},
                "any moved": bool(scores.moved),
                "PSI, confidence": scores.confidence_psi,
                "KS, confidence": scores.confidence.score,
                "PSI, classes": scores.classes.score,
                "MMD": scores.features.score,
                "accuracy": accuracy,
                "estimate": estimate,
                "error of the estimate": abs(estimate - accuracy),
            }
        )
    return {
        name: float(np.mean([row[name] for row in rows]) if "moved" in name else np.median([row[name] for row in rows]))
        for name in rows[0]
    }


def _enlarge(image: NDArray[np.float64]) -> Images:
    grey = Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)).convert("RGB")
    return np.asarray(grey.resize((SIDE_PIXELS, SIDE_PIXELS), Image.Resampling.BILINEAR))


def main() -> None:
    """Print the table of docs/decisions/0070."""
    seen = see()
    measured = {name: measure_change(seen["nothing"], each) for name, each in seen.items()}
    table = Table(title=f"{DRAWS} draws each; {REFERENCE} reference, {RECENT} recent, {CALIBRATION} calibration images")
    table.add_column("")
    for name in measured:
        table.add_column(name, justify="right")
    for figure in measured["nothing"]:
        table.add_row(figure, *(f"{each[figure]:.3f}" for each in measured.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
