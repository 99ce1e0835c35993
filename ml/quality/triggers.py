"""Whether a night asks for retraining. Pure: the same figures give the same answer."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LastAttempt:
    """The latest attempt that reached a verdict, seen from tonight.

    Args:
        has_same_parameters: a retraining tonight would use the parameters it used.
        has_same_pool: the pool's members and labels are those it saw.
        images_since: images that entered the pool after its snapshot.
    """

    has_same_parameters: bool
    has_same_pool: bool
    images_since: int


def reasons_to_retrain(
    accuracy: float, floor: float, new_images: int, threshold: int, last: LastAttempt | None
) -> list[str]:
    """Say why retraining should be requested.

    A challenger that was rejected is not trained again every night: an attempt that used the same pool and parameters
    settles the matter, until `threshold` images more or, below the floor, any change of the pool.

    Args:
        accuracy: of the champion on the deciding part of the evaluation set, 0 to 1.
        floor: retrain below this.
        new_images: images that entered the pool since the champion's snapshot.
        threshold: retrain at this many.
        last: the latest decided attempt, None where there was none.
    Returns: one sentence per reason; empty when there is nothing to do.
    """
    repeated = last if last is not None and last.has_same_parameters else None
    reasons = []
    if accuracy < floor and not (repeated and repeated.has_same_pool):
        reasons.append(f"Accuracy {accuracy:.1%} is below the floor of {floor:.1%}.")
    if new_images >= threshold and not (repeated and repeated.images_since < threshold):
        reasons.append(f"{new_images} new images reach the threshold of {threshold}.")
    return reasons
