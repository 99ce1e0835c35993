"""Two photos as 32 x 32 greys: hashes that propose which are copies of one another, and a comparison that decides.

A copy is another encoding, size, crop, turn, mirror image or light retouch of the same photo.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 32  # pixels
Grey = NDArray[np.floating[Any]]  # (32, 32), 0 to 255

# What is hashed: the whole, crops that keep nine tenths or eight, and the corners, one of which a caption leaves alone.
_CROPS = [(0.0, 0.0, 1.0), *((x, y, 0.9) for x in (0, 0.05, 0.1) for y in (0, 0.05, 0.1)), (0.1, 0.1, 0.8)]
_CORNERS = [(x, y, 0.65) for x in (0, 0.35) for y in (0, 0.35)]
WHOLE, CROP, CORNER = range(3)
_KINDS = [WHOLE] + [CROP] * (len(_CROPS) - 1) + [CORNER] * len(_CORNERS)
# A crop is looked for among wholes and a whole among crops: either photo may be the one that was cut.
SOUGHT_AMONG = {WHOLE: (WHOLE, CROP), CROP: (WHOLE,), CORNER: (CORNER,)}

WORD_BITS = 16
# Of 63. Of 40 mushroom photos, 97 to 100 % of all copies stay within it, and 0.03 % of other photos.
MOST_BITS = 14
# An orientation is as good as the canonical one where the moments that choose it are as near to a tie as this.
_TIE = 0.15

# Measured (docs/decisions/0073): of different digits, the most alike that images come, at most 1 pair in 10,000 has
# more evidence, be it of the whole or of all but the tenth that differs most, as a caption does.
_ENOUGH_OF_ALL, _WEIGHT_OF_ALL = 48.0, 0.8
_ENOUGH_OF_MOST, _WEIGHT_OF_MOST = 47.0, 0.7
_LEFT_OUT = 0.1
_LEAST_OVERLAP = 0.6
_FAINTEST = 2.0  # of 255: a standard deviation under it is an even surface, which is a copy of nothing
_SETTLED = 1e-4
_MOST_STEPS = 15
_MOST_SHEAR, _MOST_SCALE = 0.15, 1.45


class CopyHash(NamedTuple):
    """63 signs of the lowest frequencies, the lowest first, of one crop in one orientation; kind: WHOLE, ..."""

    kind: int
    bits: int

    @property
    def words(self) -> tuple[int, int]:
        """The 32 lowest frequencies, which a copy changes least."""
        return self.bits >> 47, self.bits >> 31 & 0xFFFF


def stored_hashes(grey: Grey) -> list[CopyHash]:
    """The hashes by which a photo is found: one for each crop, in its canonical orientation."""
    return [CopyHash(kind, _pack(next(_canonical(spectrum, 0.0)))) for kind, spectrum in _spectra(grey)]


def sought_hashes(grey: Grey) -> list[CopyHash]:
    """The hashes to look for: of each crop in each orientation that may be the canonical one of a copy."""
    return [CopyHash(kind, _pack(turned)) for kind, spectrum in _spectra(grey) for turned in _canonical(spectrum, _TIE)]


def copy_evidence(first: Grey, second: Grey, mirrored: bool) -> float:
    """How strongly two photos speak for being copies: from 1 on, they are.

    Of all orientations and crops the two best are aligned; what counts is how well the details then agree, and how many
    details there are to agree.

    Args: mirrored, whether a mirror image is a copy.
    """
    if min(first.std(), second.std()) < _FAINTEST:
        return 0.0
    turned = np.stack(list(_orientations(_smooth(first)))[: 8 if mirrored else 4])
    fixed = _smooth(second)
    starts = sorted(_starts(turned, fixed), key=lambda start: -start[0])[:2]
    return max(_aligned_evidence(turned[index], fixed, placement) for _, index, placement in starts)


def _spectra(grey: Grey) -> Iterator[tuple[int, Grey]]:
    spectra = _COSINES @ _cut(grey, _HASHED_ROWS, _HASHED_COLUMNS) @ _COSINES.T
    spectra[:, 0, 0] = 0
    yield from zip(_KINDS, spectra, strict=True)


def _canonical(spectrum: Grey, tie: float) -> Iterator[Grey]:
    """The orientations with their light at the left more than at the top, and there more than opposite."""
    slack = tie * float(np.linalg.norm(spectrum[:3, :3]))
    for turned in _turned_spectra(spectrum):
        across, down = turned[0, 1], turned[1, 0]
        if min(across, down, across - down) >= -slack:
            yield turned


def _turned_spectra(spectrum: Grey) -> Iterator[Grey]:
    signs = (-1.0) ** np.arange(8, dtype=np.float32)
    upright = np.ones_like(signs)
    for image, down, across in product((spectrum, spectrum.T), (upright, signs), (upright, signs)):
        yield image * down[:, None] * across


def _pack(spectrum: Grey) -> int:
    packed = np.packbits(np.append(False, spectrum[_ROWS, _COLUMNS] > 0))
    return int.from_bytes(packed.tobytes())


def _orientations(grey: Grey) -> Iterator[Grey]:
    """The four turns, then their mirror images."""
    for image in (grey, grey[:, ::-1]):
        for turns in range(4):
            yield np.ascontiguousarray(np.rot90(image, turns))


def _starts(turned: Grey, fixed: Grey) -> Iterator[tuple[float, int, Grey]]:
    """Each way to lay the photos over one another: correlation, orientation, and the placement (2, 3) to start from."""
    cuts_of_fixed = _normalised(_cut(fixed, _TRIED_ROWS, _TRIED_COLUMNS))
    cuts_of_turned = _normalised(_cut(turned[:, None], _TRIED_ROWS, _TRIED_COLUMNS))
    for index, cuts in enumerate(cuts_of_turned):
        for inside, cut, other in zip(_PLACEMENTS, cuts, cuts_of_fixed, strict=True):
            yield float(cuts[0] @ other), index, inside
            yield float(cut @ cuts_of_fixed[0]), index, _inverse(inside)


def _aligned_evidence(moving: Grey, fixed: Grey, placement: Grey) -> float:
    """Align by Gauss-Newton steps of an affine placement, with a gain for contrast; then compare the details.

    Source: S. Baker, I. Matthews, Lucas-Kanade 20 Years On, 2004 (inverse compositional).
    """
    slopes = np.stack([np.gradient(moving, axis=axis) * SIDE for axis in (1, 0)], axis=-1)
    steepest = (slopes[..., :, None] * _COORDINATES[..., None, :]).reshape(SIDE, SIDE, 6)
    for _ in range(_MOST_STEPS):
        warped, overlap = _warp(fixed, placement)
        if overlap.mean() < _LEAST_OVERLAP or not _is_plausible(placement):
            return 0.0
        step = _step(moving[overlap], warped[overlap], steepest[overlap])
        change = np.vstack([step.reshape(2, 3) + np.eye(2, 3), [0, 0, 1]])
        placement = (np.vstack([placement, [0, 0, 1]]) @ np.linalg.inv(change))[:2]
        if float(np.abs(step).max()) < _SETTLED:
            break
    warped, overlap = _warp(fixed, placement)
    if overlap.mean() < _LEAST_OVERLAP or not _is_plausible(placement):
        return 0.0
    of_all = _evidence(moving, warped, overlap, _WEIGHT_OF_ALL)
    of_most = _evidence(moving, warped, _without_the_worst(moving, warped, overlap), _WEIGHT_OF_MOST)
    return max(of_all / _ENOUGH_OF_ALL, of_most / _ENOUGH_OF_MOST)


def _step(moving: Grey, warped: Grey, steepest: Grey) -> Grey:
    """One step, in which a caption or another local retouch has little weight."""
    target, found, slopes = (values - values.mean(axis=0) for values in (moving, warped, steepest))
    gain = float(target @ found) / max(float(found @ found), 1e-6)
    error = gain * found - target
    weights = _trust(error)
    normal = slopes.T @ (weights[:, None] * slopes)
    damped = normal + np.eye(6) * (1e-3 * float(np.trace(normal)) / 6 + 1e-9)
    step: Grey = np.linalg.solve(damped, slopes.T @ (weights * error))
    return step


def _trust(error: Grey) -> Grey:
    """Cauchy's weights: near 1 for usual errors, near 0 for those far outside."""
    usual = 2.4 * float(np.median(np.abs(error))) + 1e-6
    weights: Grey = 1 / (1 + (error / usual) ** 2)
    return weights


def _evidence(moving: Grey, warped: Grey, overlap: NDArray[np.bool_], weight: float) -> float:
    """Fisher's z of the correlation of the details, times a power of the number of independent ones."""
    details, others = _details(moving, overlap), _details(warped, overlap)
    first, second = _normalised(details[overlap][None]), _normalised(others[overlap][None])
    correlation = min(max(float(first[0] @ second[0]), 0.0), 0.9999)
    power = np.abs(np.fft.fft2(details * _WINDOW)) ** 2
    independent = float(power.sum() ** 2 / np.maximum((power**2).sum(), 1e-12))
    return float(np.arctanh(correlation) * independent**weight)


def _without_the_worst(moving: Grey, warped: Grey, overlap: NDArray[np.bool_]) -> NDArray[np.bool_]:
    target, found = moving[overlap] - moving[overlap].mean(), warped[overlap] - warped[overlap].mean()
    error = np.abs(target - found * (float(target @ found) / max(float(found @ found), 1e-6)))
    kept = overlap.copy()
    kept[overlap] = error <= np.quantile(error, 1 - _LEFT_OUT)
    return kept


def _details(grey: Grey, seen: NDArray[np.bool_]) -> Grey:
    """What is finer than a blur, from the pixels seen alone; 0 for the others."""
    light, weight = (_BLUR @ values @ _BLUR.T for values in (grey * seen, seen.astype(np.float32)))
    details: Grey = np.where(seen, grey - light / np.maximum(weight, 1e-6), 0)
    return details


def _is_plausible(placement: Grey) -> bool:
    scales, shears = placement[[0, 1], [0, 1]], placement[[0, 1], [1, 0]]
    fits = (scales > 1 / _MOST_SCALE) & (scales < _MOST_SCALE) & (np.abs(shears) < _MOST_SHEAR)
    return bool(fits.all())


def _warp(fixed: Grey, placement: Grey) -> tuple[Grey, NDArray[np.bool_]]:
    """What of the fixed photo lies under each pixel of the other, and where it has any."""
    columns, rows = np.moveaxis((_COORDINATES @ placement.T + 0.5) * SIDE - 0.5, -1, 0)
    overlap = (columns >= 0) & (columns <= SIDE - 1) & (rows >= 0) & (rows <= SIDE - 1)
    columns, rows = columns.clip(0, SIDE - 1.001), rows.clip(0, SIDE - 1.001)
    left, top = columns.astype(int), rows.astype(int)
    right, down = columns - left, rows - top
    above = fixed[top, left] * (1 - right) + fixed[top, left + 1] * right
    below = fixed[top + 1, left] * (1 - right) + fixed[top + 1, left + 1] * right
    return above * (1 - down) + below * down, overlap


def _cut(grey: Grey, rows: Grey, columns: Grey) -> Grey:
    """Crops, each as large as the whole again."""
    cut: Grey = rows @ grey @ columns.transpose(0, 2, 1)
    return cut


def _normalised(images: Grey) -> Grey:
    flat = images.reshape(*images.shape[:-2], -1) if images.shape[-2:] == (SIDE, SIDE) else images
    centred = flat - flat.mean(axis=-1, keepdims=True)
    normalised: Grey = centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-6)
    return normalised


def _smooth(grey: Grey) -> Grey:
    smooth: Grey = _SLIGHT_BLUR @ grey @ _SLIGHT_BLUR.T
    return smooth


def _inverse(placement: Grey) -> Grey:
    inverse: Grey = np.linalg.inv(np.vstack([placement, [0, 0, 1]]))[:2]
    return inverse


def _blur(pixels: float) -> Grey:
    """A Gaussian blur along one axis, as a matrix."""
    distance = np.subtract.outer(np.arange(SIDE), np.arange(SIDE))
    weights = np.exp(-0.5 * (distance / pixels) ** 2)
    matrix: Grey = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return matrix


def _stretch(start: float, share: float) -> Grey:
    """Bilinear sampling of a part of one axis, as a matrix."""
    positions = ((start + share * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5).clip(0, SIDE - 1)
    matrix: Grey = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(SIDE))).astype(np.float32)
    return matrix


def _cosine_rows() -> Grey:
    """The eight lowest of the cosine transform, orthonormal."""
    angles = np.pi * np.outer(np.arange(8), np.arange(SIDE) + 0.5) / SIDE
    rows: Grey = (np.cos(angles) * np.where(np.arange(8) == 0, 1, 2**0.5)[:, None] / SIDE**0.5).astype(np.float32)
    return rows


def _by_frequency() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.divmod(np.arange(1, 64), 8)
    order = np.lexsort((columns, rows, rows**2 + columns**2))
    return rows[order], columns[order]


_COSINES = _cosine_rows()
_ROWS, _COLUMNS = _by_frequency()
_HASHED_ROWS = np.stack([_stretch(y, share) for _, y, share in _CROPS + _CORNERS])
_HASHED_COLUMNS = np.stack([_stretch(x, share) for x, _, share in _CROPS + _CORNERS])
_TRIED_ROWS, _TRIED_COLUMNS = _HASHED_ROWS[: len(_CROPS)], _HASHED_COLUMNS[: len(_CROPS)]
_SLIGHT_BLUR, _BLUR = _blur(0.7), _blur(2.0)
_WINDOW = np.outer(np.hanning(SIDE), np.hanning(SIDE))
_AXIS = ((np.arange(SIDE) + 0.5) / SIDE - 0.5).astype(np.float32)
_COORDINATES = np.stack([*np.meshgrid(_AXIS, _AXIS), np.ones((SIDE, SIDE), np.float32)], axis=-1)  # x, y, 1
_PLACEMENTS = [
    np.array([[share, 0, x + share / 2 - 0.5], [0, share, y + share / 2 - 0.5]], np.float32) for x, y, share in _CROPS
]
