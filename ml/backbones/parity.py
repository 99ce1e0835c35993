"""Compare a backbone in int8 with the same backbone in fp32, once per backbone, before any head is trained on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.backbones.features import ensure_features
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.standardisation import Standardisation
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

Features = NDArray[np.float32]
Labels = NDArray[np.str_]


@dataclass(frozen=True)
class BackboneParity:
    """The comparison of int8 with fp32, each with a logistic regression on its own features, and the decision.

    Args:
        decision: the precision that serves, int8 or fp32.
        reason: why, in a sentence with the figures.
        agreement: share of the evaluation images that both give the same class, 0 to 1.
        fp32_accuracy, int8_accuracy: on the same images, 0 to 1.
        mcnemar_p: p-value of the exact two-sided McNemar test on the images that only one of them classifies correctly.
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
            f"Expected images of the classes {', '.join(snapshot.classes)} in the evaluation set, found none. "
            "Ingest some with `mycoflow ingest DIR --split evaluation`."
        )
    sha256s = [item.demand_image() for item in training] + [item.demand_image() for item in evaluation]
    features = [
        _features(catalog, backbone, sha256s, index, on_progress) for index, backbone in enumerate((fp32, int8))
    ]
    # Of several classes the first: both backbones answer the same question, and no more is needed to compare them.
    labels = np.array([item.annotation.class_names[0] for item in training])
    truth = np.array([item.annotation.class_names[0] for item in evaluation])
    answers = [_answers(each[: len(training)], labels, each[len(training) :]) for each in features]
    return judge_answers(truth, answers[0], answers[1], len(training), minimum_agreement)


def judge_answers(
    truth: Labels, fp32: Labels, int8: Labels, training_images: int, minimum_agreement: float
) -> BackboneParity:
    """Decide from the class names that both backbones gave to the same images.

    Args: truth, fp32, int8: class names, (n,), n from 1.
    Source: McNemar 1947, doi 10.1007/BF02295996, in its exact form.
    """
    from scipy.stats import binomtest  # noqa: PLC0415 - half a second

    agreement = float((fp32 == int8).mean())
    fp32_right, int8_right = fp32 == truth, int8 == truth
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


def _answers(features: Features, labels: Labels, evaluated: Features) -> Labels:
    """Fit a logistic regression, and return the classes that it gives to other images.

    The fit converges to one optimum, so the answers depend on no seed.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second

    standardisation = Standardisation.of(features)
    regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=10_000)
    regression.fit(standardisation.apply(features), labels)
    return np.asarray(regression.predict(standardisation.apply(evaluated)))
