"""Species that differ in colour, and a very small model that was fitted on their photos as a retraining fits it.

Its backbone sees mean colours, so it knows these species, and a photo in another colour is novel.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ml.backbones.preprocessing import to_pixels
from ml.confidence.cross_fitting import divide_by_group
from ml.confidence.novelty import NOVELTY_FILE, save_novelty
from ml.deadlines import Deadline
from ml.tasks.classification import FILES
from ml.tasks.classification.answer_confidence import fit_confidence
from ml.tasks.classification.classifier import Classifier
from ml.tasks.classification.fitting.convex_head import fit_convex_head
from tests.tiny_model import CLASSES, IMAGE_SIZE, write_headed_bundle, write_tiny_bundle

COLOURS = {
    "amanita": (215, 40, 30),
    "boletus": (125, 85, 45),
    "cantharellus": (235, 180, 40),
    "russula": (150, 60, 160),
}
UNKNOWN_COLOUR = (20, 110, 235)
_PHOTOS_OF_EACH = 60


def coloured_photo(colour: tuple[float, ...], number: int) -> bytes:
    """Return a photo in about this colour. Another number, another photo, which is no copy of the others."""
    generator = np.random.default_rng(number)
    patches = np.repeat(np.repeat(generator.uniform(-35, 35, (6, 8, 1)), 12, axis=0), 12, axis=1)
    pixels = np.clip(np.asarray(colour) + patches + generator.normal(0, 6, (72, 96, 3)), 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def between(one: str, other: str, share: float) -> tuple[float, ...]:
    """Return a colour between those of two species. Args: share, of the other one."""
    return tuple((1 - share) * np.array(COLOURS[one]) + share * np.array(COLOURS[other]))


def write_fitted_bundle(folder: Path, sees: bool = True) -> Path:
    """Write the bundle of version 7, which was fitted on sixty photos of each species.

    Args: sees, whether its backbone counts as trained, so that the version measures novelty.
    """
    photos = [coloured_photo(COLOURS[name], number) for name in CLASSES for number in range(_PHOTOS_OF_EACH)]
    labels, rows = np.repeat(np.arange(len(CLASSES)), _PHOTOS_OF_EACH), np.arange(len(photos))
    pixels = np.stack([to_pixels(photo, IMAGE_SIZE) for photo in photos])
    features = Classifier.load(write_tiny_bundle(folder / "backbone", 0)).predict(pixels).features
    divisions = divide_by_group(labels, [str(row) for row in rows])
    fit = fit_convex_head(features[np.newaxis], labels, len(CLASSES), divisions, rows, Deadline(60.0))
    confidence = fit_confidence(features, labels, fit.answers, divisions, rows, sees)
    head, novelty = fit.head.at_temperature(confidence.temperature), confidence.novelty
    facts: dict[str, object] = {"temperature": confidence.temperature, "novelty_reason": confidence.novelty_reason}
    if novelty is not None:
        facts |= {"novelty_threshold": novelty.threshold, "files": [*FILES, NOVELTY_FILE]}
    bundle = write_headed_bundle(folder / "7-run", head.kernel, head.bias, **facts)
    if novelty is not None:
        save_novelty(novelty, bundle / NOVELTY_FILE)
    return bundle
