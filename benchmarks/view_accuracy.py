"""Measure which views of training images help.

    python -m benchmarks.view_accuracy FOLDER [--backbone NAME] [--weights WEIGHTS] [--image-size PIXELS]

FOLDER has a sub-folder per class, and may have a groups.csv. A logistic regression is fitted on the views of four
fifths of the images. It names the others, in their original view. There are five folds; no group is divided.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from rich.console import Console
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.dataset import list_images
from ml.backbones.int8.parity import name_images
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.preprocessing import to_pixels
from ml.backbones.registered import REGISTERED, find_backbone
from ml.backbones.views import VIEWS, training_views

FOLDS, SEEDS = 5, 2
BATCH_IMAGES = 32
out = Console(soft_wrap=True, highlight=False)


def main() -> None:
    """Print the accuracy with each choice of views, and its standard deviation over folds and seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", choices=REGISTERED, default="efficientnet_lite0")
    parser.add_argument("--weights", default="imagenet", help="as MYCOFLOW_WEIGHTS")
    parser.add_argument("--image-size", type=int, help="pixels; the backbone's own when missing")
    asked = parser.parse_args()
    backbone = find_backbone(asked.backbone)
    size = asked.image_size or backbone.default_image_size
    network = OnnxBackbone(backbone.export_onnx(backbone.resolve_weights(asked.weights), size))
    paths = list_images(asked.folder)
    labels, groups = np.array([path.parent.name for path in paths]), read_groups(asked.folder, paths)
    features: dict[str, list[np.ndarray]] = {view: [] for view in VIEWS}
    for start in range(0, len(paths), BATCH_IMAGES):
        pixels = np.stack([to_pixels(path.read_bytes(), size) for path in paths[start : start + BATCH_IMAGES]])
        for view, show in VIEWS.items():
            features[view].append(network.features(show(pixels)))
    seen = {view: np.concatenate(parts) for view, parts in features.items()}
    for choice in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (1, 1, 1)):
        views = training_views(*map(bool, choice))
        shares = _accuracies(seen, views, labels, groups)
        out.print(f"{', '.join(views)}: {np.mean(shares):.3f} (deviation of a fold {np.std(shares):.3f})")


def read_groups(folder: Path, paths: list[Path]) -> np.ndarray:
    """Return the group of each image: as groups.csv says, or its own path."""
    known: dict[str, str] = {}
    if (folder / "groups.csv").is_file():
        with (folder / "groups.csv").open(encoding="utf-8") as file:
            known = {row["file"]: row["group"] for row in csv.DictReader(file)}
    return np.array([known.get(path.relative_to(folder).as_posix(), str(path)) for path in paths])


def _accuracies(seen: dict[str, np.ndarray], views: list[str], labels: np.ndarray, groups: np.ndarray) -> list[float]:
    shares = []
    for seed in range(SEEDS):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        for learned, left_out in folds.split(labels, labels, groups):
            features = np.concatenate([seen[view][learned] for view in views])
            shown = [{str(label)} for _ in views for label in labels[learned]]
            names = name_images(features, shown, seen[views[0]][left_out])
            shares.append(float((names == labels[left_out]).mean()))
    return shares


if __name__ == "__main__":
    main()
