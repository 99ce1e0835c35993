"""Decide whether two photos are copies: align them, and compare their details.

A copy is the same photo in another encoding, size, crop or rotation, mirrored, or slightly retouched.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ml.data.copies.thumbnails import CROPS, SIDE, Grey, cut

Seen = NDArray[np.bool_]

# Fisher's z for a copy, in all pixels and in all but the quarter that differs most (such as a caption or a frame), and
# the number of independent details above which a smaller z is enough. Measured (docs/decisions/0073): no two different
# digits, which are the most similar images, agree so well.
_ENOUGH_OF_ALL, _MANY_FOR_ALL = 2.5, 60
_ENOUGH_OF_MOST, _MANY_FOR_MOST = 3.3, 45
_LEFT_OUT = 0.25
_LEAST_OVERLAP = 0.5
_FAINTEST = 2.0  # of 255: a photo with a smaller standard deviation is a plain surface, and counts as no copy
# A photo with fewer independent details is plain. Its copies correlate by 0.95 or more before alignment (measured).
_PLAIN_DETAILS, _PLAIN_LIKENESS = 40, 0.95
# After the first step, most pairs with less evidence than this are not copies (measured). Only the others are aligned
# further.
_FIRST_STEPS, _PROMISING, _MORE_STEPS = 1, 0.6, 4
_MOST_SHEAR, _MOST_SCALE = 0.15, 1.45


def copy_evidence(grey: Grey, others: Sequence[Grey], mirrored: bool) -> Grey:
    """Return the evidence that a photo and each of some others are copies. From 1 on, they count as copies.

    The two best combinations of orientation and crop are aligned. The evidence grows with the agreement of the details
    after that, and with the number of details.

    Args: mirrored, whether a mirror image is a copy.
    Returns: float, (len(others),).
    """
    evidence = np.zeros(len(others))
    seen = [index for index, other in enumerate(others) if other.std() >= _FAINTEST]
    if not seen or grey.std() < _FAINTEST:
        return evidence
    turned = np.stack(list(_orientations(_smooth(grey)))[: 8 if mirrored else 4])
    fixed = _smooth(np.stack([others[index] for index in seen]))
    likeness = _likeness(turned, fixed)
    best = np.argsort(-likeness, axis=1)[:, :2]
    compared, place = np.nonzero(np.take_along_axis(likeness, best, axis=1) >= _least_likeness(turned[0]))
    if not compared.size:
        return evidence
    orientation, start = np.divmod(best[compared, place], len(_STARTS))
    pairs = _Pairs(turned[orientation], fixed[compared], _STARTS[start])
    pairs.align(_FIRST_STEPS)
    promising = np.flatnonzero(pairs.evidence() >= _PROMISING)
    pairs = pairs.both_ways(promising)
    pairs.align(_MORE_STEPS)
    np.maximum.at(evidence, np.tile(np.array(seen)[compared[promising]], 2), pairs.evidence())
    return evidence


def _orientations(grey: Grey) -> Iterator[Grey]:
    """Yield the four rotations, then their mirror images."""
    for image in (grey, grey[:, ::-1]):
        for turns in range(4):
            yield np.ascontiguousarray(np.rot90(image, turns))


def _likeness(turned: Grey, fixed: Grey) -> Grey:
    """Return the correlations of photos in each starting placement.

    Args: turned, the photo in its orientations, (k, 32, 32); fixed, the others, (n, 32, 32).
    Returns: correlations, (n, k * len(_STARTS)).
    """
    cuts_of_turned = _normalised(cut(turned[:, None], with_corners=False))
    cuts_of_fixed = _normalised(cut(fixed[:, None], with_corners=False))
    # einsum in place of a matrix product, because the idle threads of BLAS would spin for longer than this takes.
    inside = np.einsum("kp,ncp->nkc", cuts_of_turned[:, 0], cuts_of_fixed)
    outside = np.einsum("kcp,np->nkc", cuts_of_turned[:, 1:], cuts_of_fixed[:, 0])
    likeness: Grey = np.concatenate([inside, outside], axis=2).reshape(len(fixed), -1)
    return likeness


def _least_likeness(grey: Grey) -> float:
    """Return the least correlation at which a pair is aligned; high for a plain photo, whose copies are similar."""
    details = _details(grey[None], np.ones((1, SIDE, SIDE), np.bool_))
    return _PLAIN_LIKENESS if float(_independent(details)[0]) < _PLAIN_DETAILS else -1.0


class _Pairs:
    """Pairs of photos, each (n, 32, 32), and the affine placement (n, 2, 3) of one over the other, which `align` finds.

    Source: S. Baker, I. Matthews, Lucas-Kanade 20 Years On, 2004 (inverse compositional, affine).
    """

    def __init__(self, moving: Grey, fixed: Grey, placement: Grey) -> None:
        self._moving, self._fixed, self._placement = moving, fixed, placement

    def both_ways(self, indices: NDArray[np.intp]) -> "_Pairs":
        """Return some of the pairs in both orders, because the agreement depends on which photo has finer details."""
        one, other, placement = self._moving[indices], self._fixed[indices], self._placement[indices]
        return _Pairs(
            np.concatenate([one, other]), np.concatenate([other, one]), np.concatenate([placement, _inverse(placement)])
        )

    def align(self, steps: int) -> None:
        """Take Gauss-Newton steps, with a gain for contrast. Pairs that do not fit one another well stay unchanged."""
        slopes = np.stack([np.gradient(self._moving, axis=axis) * SIDE for axis in (2, 1)], axis=-1)
        steepest = (slopes[..., :, None] * _COORDINATES[..., None, :]).reshape(-1, SIDE * SIDE, 6)
        active = np.arange(len(self._moving))
        for _ in range(steps):
            warped, overlap = _warp(self._fixed[active], self._placement[active])
            near = _is_near(self._placement[active], overlap)
            active = active[near]
            step = _step(self._moving[active], warped[near], steepest[active], overlap[near])
            change = _square(step.reshape(-1, 2, 3) + np.eye(2, 3, dtype=np.float32))
            self._placement[active] = (_square(self._placement[active]) @ np.linalg.inv(change))[:, :2]

    def evidence(self) -> Grey:
        """Return the evidence that each pair is a copy, (n,); 0 for a pair that does not fit one another well."""
        warped, overlap = _warp(self._fixed, self._placement)
        kept = _without_the_worst(self._moving, warped, overlap)
        # Counted in all pixels, because the holes in `kept` would count as details.
        independent = _independent(_details(self._moving, overlap))
        of_all = _agreement(self._moving, warped, overlap) / _ENOUGH_OF_ALL
        of_most = _agreement(self._moving, warped, kept) / _ENOUGH_OF_MOST
        evidence: Grey = np.maximum(
            of_all * np.maximum(1, independent / _MANY_FOR_ALL), of_most * np.maximum(1, independent / _MANY_FOR_MOST)
        )
        return np.where(_is_near(self._placement, overlap), evidence, 0)


def _step(moving: Grey, warped: Grey, steepest: Grey, seen: Seen) -> Grey:
    """Return one step for each pair, (n, 6). A caption or another local retouch has little weight in it."""
    mask = seen.reshape(-1, SIDE * SIDE)
    target, found = _centred(moving, mask), _centred(warped, mask)
    count = mask.sum(axis=1)
    mean = np.einsum("np,npi->ni", mask, steepest) / count[:, None]
    slopes = (steepest - mean[:, None]) * mask[..., None]
    error = _gain(target, found)[:, None] * found - target
    weighted = (_trust(error, mask) * mask)[..., None] * slopes
    normal = slopes.transpose(0, 2, 1) @ weighted
    damping = 1e-3 * np.trace(normal, axis1=1, axis2=2) / 6 + 1e-9
    right = weighted.transpose(0, 2, 1) @ error[..., None]
    step: Grey = np.linalg.solve(normal + np.eye(6) * damping[:, None, None], right)[..., 0]
    return step


def _trust(error: Grey, mask: Seen) -> Grey:
    """Return Cauchy's weights: near 1 for usual errors, near 0 for outliers."""
    usual = 2.4 * _quantile(np.abs(error), mask, 0.5) + 1e-6
    weights: Grey = 1 / (1 + (error / usual[:, None]) ** 2)
    return weights


def _agreement(moving: Grey, warped: Grey, seen: Seen) -> Grey:
    """Return Fisher's z of the correlation of the details of pairs, (n,)."""
    mask = seen.reshape(-1, SIDE * SIDE)
    first, second = (_centred(_details(grey, seen), mask) for grey in (moving, warped))
    sizes = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    correlation = np.einsum("np,np->n", first, second) / np.maximum(sizes, 1e-12)
    agreement: Grey = np.arctanh(correlation.clip(0.0, 0.9999))
    return agreement


def _independent(details: Grey) -> Grey:
    """Estimate the number of independent details of photos from the number of frequencies that share their power."""
    power = np.abs(np.fft.fft2(details * _WINDOW)) ** 2
    independent: Grey = power.sum(axis=(1, 2)) ** 2 / np.maximum((power**2).sum(axis=(1, 2)), 1e-12)
    return independent


def _without_the_worst(moving: Grey, warped: Grey, seen: Seen) -> Seen:
    mask = seen.reshape(-1, SIDE * SIDE)
    target, found = _centred(moving, mask), _centred(warped, mask)
    error = np.abs(target - found * _gain(target, found)[:, None])
    kept: Seen = (mask & (error <= _quantile(error, mask, 1 - _LEFT_OUT)[:, None])).reshape(seen.shape)
    return kept


def _details(grey: Grey, seen: Seen) -> Grey:
    """Return the details that a blur removes, from the visible pixels only; 0 for all others."""
    light, weight = (_BLUR @ values @ _BLUR.T for values in (grey * seen, seen.astype(np.float32)))
    details: Grey = np.where(seen, grey - light / np.maximum(weight, 1e-6), 0)
    return details


def _is_near(placement: Grey, overlap: Seen) -> Seen:
    """Return whether the placements of pairs are plausible for copies."""
    scales, shears = placement[:, [0, 1], [0, 1]], placement[:, [0, 1], [1, 0]]
    fits = (scales > 1 / _MOST_SCALE) & (scales < _MOST_SCALE) & (np.abs(shears) < _MOST_SHEAR)
    near: Seen = fits.all(axis=1) & (overlap.mean(axis=(1, 2)) >= _LEAST_OVERLAP)
    return near


def _warp(fixed: Grey, placement: Grey) -> tuple[Grey, Seen]:
    """Sample the fixed photos at the placed pixels of the others. Also return where the fixed photos have pixels."""
    columns, rows = np.moveaxis((_COORDINATES @ placement[:, None].transpose(0, 1, 3, 2) + 0.5) * SIDE - 0.5, -1, 0)
    overlap = (columns >= 0) & (columns <= SIDE - 1) & (rows >= 0) & (rows <= SIDE - 1)
    columns, rows = columns.clip(0, SIDE - 1.001), rows.clip(0, SIDE - 1.001)
    left, top = columns.astype(int), rows.astype(int)
    right, down = columns - left, rows - top
    photo = np.arange(len(fixed))[:, None, None]
    above = fixed[photo, top, left] * (1 - right) + fixed[photo, top, left + 1] * right
    below = fixed[photo, top + 1, left] * (1 - right) + fixed[photo, top + 1, left + 1] * right
    return above * (1 - down) + below * down, overlap


def _centred(grey: Grey, mask: Seen) -> Grey:
    """Return photos as rows of pixels minus their mean, within a mask; 0 for all other pixels."""
    flat = grey.reshape(-1, SIDE * SIDE)
    mean = (flat * mask).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)
    centred: Grey = (flat - mean[:, None]) * mask
    return centred


def _gain(target: Grey, found: Grey) -> Grey:
    """Return the factor that fits the contrast of `found` to that of `target`."""
    gain: Grey = np.einsum("np,np->n", target, found) / np.maximum(np.einsum("np,np->n", found, found), 1e-6)
    return gain


def _quantile(values: Grey, mask: Seen, share: float) -> Grey:
    """Return a quantile of each row, within a mask."""
    ordered = np.sort(np.where(mask, values, np.inf), axis=1)
    position = np.floor(share * (mask.sum(axis=1) - 1)).clip(0).astype(int)
    quantile: Grey = np.take_along_axis(ordered, position[:, None], axis=1)[:, 0]
    return quantile


def _inverse(placements: Grey) -> Grey:
    inverse: Grey = np.linalg.inv(_square(placements))[:, :2]
    return inverse


def _square(placements: Grey) -> Grey:
    """Return placements as square matrices, which can be multiplied, (n, 3, 3)."""
    last = np.broadcast_to(np.array([0, 0, 1], placements.dtype), (len(placements), 1, 3))
    return np.concatenate([placements, last], axis=1)


def _normalised(images: Grey) -> Grey:
    flat = images.reshape(*images.shape[:-2], -1)
    centred = flat - flat.mean(axis=-1, keepdims=True)
    normalised: Grey = centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-6)
    return normalised


def _smooth(grey: Grey) -> Grey:
    smooth: Grey = _SLIGHT_BLUR @ grey @ _SLIGHT_BLUR.T
    return smooth


def _blur(pixels: float) -> Grey:
    """Return the matrix of a Gaussian blur along one axis."""
    distance = np.subtract.outer(np.arange(SIDE), np.arange(SIDE))
    weights = np.exp(-0.5 * (distance / pixels) ** 2)
    matrix: Grey = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix


_SLIGHT_BLUR, _BLUR = _blur(0.7), _blur(2.0)
_WINDOW = np.outer(np.hanning(SIDE), np.hanning(SIDE))
_AXIS = ((np.arange(SIDE) + 0.5) / SIDE - 0.5).astype(np.float32)
_COORDINATES = np.stack([*np.meshgrid(_AXIS, _AXIS), np.ones((SIDE, SIDE), np.float32)], axis=-1)  # x, y, 1
_INSIDE = np.array(
    [[[share, 0, x + share / 2 - 0.5], [0, share, y + share / 2 - 0.5]] for x, y, share in CROPS], np.float32
)
# A crop of the other photo lies under the whole of this one, or a crop of this one under the whole of the other.
_STARTS = np.concatenate([_INSIDE, _inverse(_INSIDE[1:])])
