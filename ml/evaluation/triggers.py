"""Whether a night asks for retraining. Pure: the same figures give the same answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml.catalog.models.evaluations import Shortfall


@dataclass(frozen=True)
class LastAttempt:
    """The latest attempt that reached a verdict or is under way, seen from tonight.

    Args:
        is_under_way: it has no verdict yet.
        has_same_parameters: a retraining tonight would use the parameters it used.
        has_same_pool: the pool's members and labels are those it saw.
        images_since: images after its snapshot that a snapshot could use.
        age_days: days since its snapshot.
    """

    is_under_way: bool
    has_same_parameters: bool
    has_same_pool: bool
    images_since: int
    age_days: float


@dataclass(frozen=True)
class Review:
    """The scheduled review: a retraining at an interval, whatever the figures say.

    Args:
        age_days: days since what the champion learned from was pinned.
        interval_days: retrain at this age; 0 never.
    """

    age_days: float
    interval_days: int


def reasons_to_retrain(
    shortfalls: Sequence[Shortfall], new_images: int, threshold: int, review: Review, last: LastAttempt | None
) -> list[str]:
    """Say why retraining should be requested.

    A challenger that was rejected is not trained again every night, nor one that is being trained beside itself: an
    attempt that used the same pool and parameters, or is under way on that pool, settles the matter, until `threshold`
    images more or, below the floor, any change of the pool. Any attempt settles the review until the interval has
    passed again; where nothing changed since, there is nothing to review.

    Args:
        shortfalls: what of the champion is below its floor, on the deciding part of the evaluation set.
        new_images: images since the champion's snapshot that a snapshot could use.
        threshold: retrain at this many.
        review: how old the champion is, and how old it may be.
        last: the latest attempt with a verdict or under way, None where there was none.
    Returns: one sentence per reason; empty when there is nothing to do.
    """
    repeated = last if last is not None and (last.has_same_parameters or last.is_under_way) else None
    reasons = []
    if not (repeated and repeated.has_same_pool):
        reasons += [str(each) for each in shortfalls]
    if new_images >= threshold and not (repeated and repeated.images_since < threshold):
        reasons.append(f"{new_images} new images reach the threshold of {threshold}.")
    age_days = review.age_days if last is None else min(review.age_days, last.age_days)
    if 0 < review.interval_days <= age_days and not (repeated and repeated.has_same_pool):
        reasons.append(f"{age_days:.0f} days since the last training; a review is due every {review.interval_days}.")
    return reasons
