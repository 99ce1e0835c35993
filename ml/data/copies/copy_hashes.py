"""Perceptual hashes of photos. The hashes of a photo and its copy are so near that a search proposes the copy."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.data.copies.thumbnails import CORNERS, CROPS, SIDE, Grey, cut

WHOLE, CROP, CORNER = range(3)
_KINDS = [WHOLE] + [CROP] * (len(CROPS) - 1) + [CORNER] * len(CORNERS)
# The search compares crops with whole photos and whole photos with crops, because either photo may be the cropped one.
SOUGHT_AMONG = {WHOLE: (WHOLE, CROP), CROP: (WHOLE,), CORNER: (CORNER,)}

# Different bits of 63. Of mushroom photos, blood smears and digits, 98 to 100 % of the copies differ in no more.
MOST_BITS = 14
# An orientation may be canonical too if its moments miss the condition by at most this share of their norm.
_TIE = 0.15


class CopyHash(NamedTuple):
    """The signs of the 63 lowest frequencies, lowest first, of one crop in one orientation.

    Args: kind, WHOLE, CROP or CORNER.
    """

    kind: int
    bits: int

    @property
    def words(self) -> tuple[int, int]:
        """The bits of the 32 lowest frequencies as two words. These change least in a copy."""
        return self.bits >> 47, self.bits >> 31 & 0xFFFF


def stored_hashes(grey: Grey) -> list[CopyHash]:
    """Return the hashes to store for a photo: one for each crop, in its canonical orientation."""
    return [CopyHash(kind, _pack(next(_canonical(spectrum, 0.0)))) for kind, spectrum in _spectra(grey)]


def sought_hashes(grey: Grey) -> list[CopyHash]:
    """Return the hashes to search for: of each crop, in each orientation that may be canonical for a copy."""
    return [CopyHash(kind, _pack(turned)) for kind, spectrum in _spectra(grey) for turned in _canonical(spectrum, _TIE)]


def _spectra(grey: Grey) -> Iterator[tuple[int, Grey]]:
    spectra = _COSINES @ cut(grey, with_corners=True) @ _COSINES.T
    spectra[:, 0, 0] = 0
    yield from zip(_KINDS, spectra, strict=True)


def _canonical(spectrum: Grey, tie: float) -> Iterator[Grey]:
    """Yield the orientations that are brighter left than right, brighter top than bottom, and more so left than top."""
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


def _cosine_rows() -> Grey:
    """Return the eight lowest rows of the orthonormal cosine transform, (8, 32)."""
    angles = np.pi * np.outer(np.arange(8), np.arange(SIDE) + 0.5) / SIDE
    rows: Grey = (np.cos(angles) * np.where(np.arange(8) == 0, 1, 2**0.5)[:, None] / SIDE**0.5).astype(np.float32)
    return rows


def _by_frequency() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.divmod(np.arange(1, 64), 8)
    order = np.lexsort((columns, rows, rows**2 + columns**2))
    return rows[order], columns[order]


_COSINES = _cosine_rows()
_ROWS, _COLUMNS = _by_frequency()
