"""Compare a backbone in int8 with the same backbone in fp32, once per backbone, before any head is trained on it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.backbones.features import ensure_features
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.standardisation import Standardisation
from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.catalog.snapshots.stored_snapshots import Snapshot
from ml.data.class_sampling import take_evenly
from ml.data.evaluation_sets import current_evaluation_set
from ml.errors import EvaluationSetError
from ml.progress import Progress
from ml.settings import Precision

# fp32 has a third of int8's speed. With these numbers it takes about 35 s at 160 pixels on two cores, and an agreement
# of 98 % is measured to within 1.2 points (95 % interval).
TRAINING_IMAGES = 500
EVALUATION_IMAGES = 500
INVERSE_REGULARISATION = 0.1  # C of sklearn's logistic regression; close to the best value on validation folds
SIGNIFICANCE = 0.05
NOTHING = ""  # what is named where an image shows no class

Features = NDArray[np.float32]
Names = NDArray[np.str_]


@dataclass(frozen=True)
class BackboneParity:
    """The comparison of int8 with fp32, each with a logistic regression on its own features, and the decision.

    The regression gives each image one class, whatever the task: right if the image shows it, perhaps among others.

    Args:
        decision: the precision that serves, int8 or fp32.
        reason: why, in a sentence with the figures.
        agreement: share of the evaluation images that both give the same class, 0 to 1.
        fp32_accuracy, int8_accuracy: share of the same images that show the class that they are given, 0 to 1.
        mcnemar_p: p-value of the exact two-sided McNemar test on the images that only one of them gives a right class.
        evaluation_images, training_images: number of images for the comparison, and for fitting each regression.
    """

    decision: Precision
    reason: str
    agreement: float
    fp32_accuracy: float
    int8_accuracy: float
    mcnemar_p: float
    evaluation_images: int
    training_images: int


def compare_backbones(
    catalog: Catalog,
    fp32: OnnxBackbone,
    int8: OnnxBackbone,
    snapshot: Snapshot,
    minimum_agreement: float,
    on_progress: Progress | None = None,
) -> BackboneParity:
    """Fit on the snapshot's training fold, compare on the evaluation set, and decide.

    The features go to the cache, because training needs those of the chosen backbone next.

    Args:
        minimum_agreement: int8 is refused below this agreement, 0 to 1.
        on_progress: called with (features computed, features to compute), counted over both backbones.
    Raises: EvaluationSetError, the evaluation set has no image of the snapshot's classes.
    """
    training = take_evenly([item for item in snapshot.items if item.fold == "train"], TRAINING_IMAGES)
    with catalog.begin() as connection:
        _, members = current_evaluation_set(connection)
    evaluation = take_evenly(
        [each for each in members if each.annotation.is_known(snapshot.classes)], EVALUATION_IMAGES
    )
    if not evaluation:
        raise EvaluationSetError(
            f"Expected images of the classes {', '.join(map(repr, snapshot.classes))} in the evaluation set, found "
            "none. Ingest some with `mycoflow ingest DIR --split evaluation`."
        )
    sha256s = [item.demand_image() for item in training] + [item.demand_image() for item in evaluation]
    features = [
        _features(catalog, backbone, sha256s, index, on_progress) for index, backbone in enumerate((fp32, int8))
    ]
    shown, truth = ([shown_names(item.annotation) for item in items] for items in (training, evaluation))
    names = [name_images(each[: len(training)], shown, each[len(training) :]) for each in features]
    return judge_names(truth, names[0], names[1], len(training), minimum_agreement)


def shown_names(annotation: Annotation) -> Collection[str]:
    """What an image may rightly be called: one of its classes, or NOTHING if it shows none."""
    return set(annotation.class_names) or {NOTHING}


def judge_names(
    truth: Sequence[Collection[str]], fp32: Names, int8: Names, training_images: int, minimum_agreement: float
) -> BackboneParity:
    """Decide from the class names that both backbones gave to the same images.

    Args:
        truth: the right names of each of n images, n from 1.
        fp32, int8: the name that each image was given, (n,).
    Source: McNemar 1947, doi 10.1007/BF02295996, in its exact form.
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - half a second

    agreement = float((fp32 == int8).mean())
    fp32_right, int8_right = (
        np.array([name in right for name, right in zip(names, truth, strict=True)]) for names in (fp32, int8)
    )
    fp32_accuracy, int8_accuracy = float(fp32_right.mean()), float(int8_right.mean())
    only_fp32, only_int8 = int((fp32_right & ~int8_right).sum()), int((int8_right & ~fp32_right).sum())
    p_value = float(binomtest(only_fp32, only_fp32 + only_int8).pvalue) if only_fp32 + only_int8 else 1.0
    is_worse = p_value < SIGNIFICANCE and only_fp32 > only_int8
    is_accepted = agreement >= minimum_agreement and not is_worse
    figures = (
        f"gives {agreement:.1%} of {len(truth)} images the class that fp32 gives ({minimum_agreement:.1%} required), "
        f"accuracy {int8_accuracy:.1%} against {fp32_accuracy:.1%}, p = {p_value:.2g}."
    )
    return BackboneParity(
        decision="int8" if is_accepted else "fp32",
        reason=f"int8 {figures}" if is_accepted else f"int8 was refused: it {figures}",
        agreement=agreement,
        fp32_accuracy=fp32_accuracy,
        int8_accuracy=int8_accuracy,
        mcnemar_p=p_value,
        evaluation_images=len(truth),
        training_images=training_images,
    )


def _features(
    catalog: Catalog, backbone: OnnxBackbone, sha256s: Sequence[str], index: int, on_progress: Progress | None
) -> Features:
    def report(done: int, _: int) -> None:
        if on_progress:
            on_progress(index * len(sha256s) + done, 2 * len(sha256s))

    return ensure_features(catalog, backbone.features, backbone.backbone_id, backbone.image_size, sha256s, report)


def name_images(features: Features, shown: Sequence[Collection[str]], evaluated: Features) -> Names:
    """Fit a logistic regression, and return the class that it gives to each of some other images.

    An image of several classes is an example of each, and all images weigh the same. The fit converges to one optimum,
    so the names depend on no seed. Where only one class is shown, every image is given that one.

    Args: features, of the n images to fit on; shown, what each of them shows; evaluated, features of the others.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second

    examples = [(index, name, 1 / len(names)) for index, names in enumerate(shown) for name in sorted(names)]
    indices, labels, weights = (np.array(column) for column in zip(*examples, strict=True))
    if len(set(labels)) == 1:
        return np.repeat(labels[:1], len(evaluated))
    standardisation = Standardisation.of(features)
    regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=10_000)
    regression.fit(standardisation.apply(features)[indices], labels, sample_weight=weights)
    return np.asarray(regression.predict(standardisation.apply(evaluated)))
