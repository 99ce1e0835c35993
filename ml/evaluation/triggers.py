"""Decide whether the nightly check requests a retraining. The function is pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml.catalog.models.evaluations import Shortfall


@dataclass(frozen=True)
class LastAttempt:
    """The latest attempt that has a verdict or is under way, compared with the state tonight.

    Args:
        is_under_way: whether it has no verdict yet.
        has_same_parameters: whether a retraining tonight would use its parameters.
        has_same_pool: whether the pool has the same members and labels as then.
        images_since: number of images that are newer than its snapshot and that a snapshot could use.
        age_days: days since its snapshot.
    """

    is_under_way: bool
    has_same_parameters: bool
    has_same_pool: bool
    images_since: int
    age_days: float


@dataclass(frozen=True)
class Review:
    """The scheduled review: a retraining at a fixed interval, independent of the figures.

    Args:
        age_days: days since the champion's snapshot.
        interval_days: retrain at this age; 0 means never.
    """

    age_days: float
    interval_days: int


def reasons_to_retrain(
    shortfalls: Sequence[Shortfall], new_images: int, threshold: int, review: Review, last: LastAttempt | None
) -> list[str]:
    """Return the reasons for requesting a retraining.

    A training is not repeated without need. If the last attempt used the same parameters or is still under way, new
    images count as a reason only if there are `threshold` more since its snapshot; a shortfall or a review counts only
    if the pool changed. Every attempt restarts the review interval.

    Args:
        shortfalls: the champion's figures below their floors, on the deciding part of the evaluation set.
        new_images: number of images that are newer than the champion's snapshot and that a snapshot could use.
        threshold: retrain at this number of new images.
        review: the age of the champion's snapshot, and the interval.
        last: the latest attempt that has a verdict or is under way; None if there is none.
    Returns: one sentence per reason; empty if no retraining is needed.
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
