"""Measure robustness: the accuracy of a model on distorted photos of the evaluation set.

The distortions have the mildest of the five grades in Hendrycks & Dietterich, Benchmarking Neural Network Robustness
to Common Corruptions and Perturbations (arXiv 1903.12261), at the size of the network's input. Darkness is our own.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ml.backbones.features import BATCH_IMAGES, read_pixels
from ml.catalog.database import Catalog
from ml.data.evaluation_sets import EvaluationItem
from ml.tasks.task import Model, Task

ROBUSTNESS_PREFIX = "accuracy_under_"
MOST_IMAGES = 150  # the model runs on each image once per distortion
BLUR_RATIO = 1 / 160  # standard deviation of the blur, as a share of the image's side
NOISE_LEVEL = 0.08 * 255  # standard deviation of the noise
JPEG_QUALITY = 25
LIGHT_RATIO = 0.4

Pixels = NDArray[np.uint8]


def measure_robustness(
    catalog: Catalog, task: Task, model: Model, members: Sequence[EvaluationItem]
) -> dict[str, float]:
    """Measure the accuracy on images of an evaluation set under each distortion. Equal images give equal figures.

    Args: members, one or more, of classes that the model knows. Only the first MOST_IMAGES by id are used.
    Returns: `accuracy_under_<distortion>` -> 0 to 1.
    Raises: ImageStoreError, an image's bytes cannot be read.
    """
    chosen = sorted(members, key=lambda member: member.item_id)[:MOST_IMAGES]
    batches = [chosen[start : start + BATCH_IMAGES] for start in range(0, len(chosen), BATCH_IMAGES)]
    scores = np.concatenate([_scores(catalog, task, model, batch) for batch in batches], axis=1)
    names = [f"{ROBUSTNESS_PREFIX}{name}" for name in DISTORTIONS]
    return {name: float(row.mean()) for name, row in zip(names, scores, strict=True)}


def _scores(catalog: Catalog, task: Task, model: Model, batch: Sequence[EvaluationItem]) -> NDArray[np.float64]:
    """Return the score of each image under each distortion, (distortions, images)."""
    images = read_pixels(catalog, [member.demand_image() for member in batch], model.card.image_size)
    seeds = [int(member.item_id[:16], 16) for member in batch]
    annotations = [member.annotation for member in batch]
    return np.array(
        [
            task.score(annotations, model.predict(np.stack([*map(distort, images, seeds)])).answers).items
            for distort in DISTORTIONS.values()
        ]
    )


def _blur(image: Pixels, _seed: int) -> Pixels:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR_RATIO * len(image))))


def _add_noise(image: Pixels, seed: int) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, NOISE_LEVEL, image.shape)
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def _compress(image: Pixels, _seed: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=JPEG_QUALITY)
    return np.asarray(Image.open(file))


def _darken(image: Pixels, _seed: int) -> Pixels:
    return (image * LIGHT_RATIO).round().astype(np.uint8)


DISTORTIONS: dict[str, Callable[[Pixels, int], Pixels]] = {
    "blur": _blur,
    "noise": _add_noise,
    "jpeg": _compress,
    "darkness": _darken,
}
"""Name -> function of an image, uint8 RGB (size, size, 3), and the image's seed. It returns the same shape."""
