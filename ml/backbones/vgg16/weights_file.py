"""Read VGG16's convolutions from an HDF5 weights file, in Keras 3's layout or the older one of the published file."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.backbones.vgg16.architecture import kernel_shapes
from ml.errors import WeightsError

Arrays = list[NDArray[np.float32]]


def read_convolutions(path: Path) -> tuple[Arrays, Arrays]:
    """Read the 13 kernels and biases of VGG16, and skip the dense layers.

    Args: path, an HDF5 file that `save_weights` of a VGG16 wrote, with or without the dense layers.
    Returns: kernels (3, 3, channels in, channels out) and biases (channels out,), float32, input first.
    Raises: WeightsError, the file is not HDF5 or does not hold VGG16's convolutions.
    """
    import h5py  # noqa: PLC0415

    try:
        with h5py.File(path) as file:
            convolutions = _convolutions(file)
    except OSError as error:
        raise WeightsError(
            f"Expected an HDF5 weights file at {path}. It cannot be opened ({error}). Download it again."
        ) from error
    kernels, biases = [kernel for kernel, _ in convolutions], [bias for _, bias in convolutions]
    _check(path, [kernel.shape for kernel in kernels], [bias.shape for bias in biases])
    if not all(np.isfinite(array).all() for array in kernels + biases):
        raise WeightsError(f"Expected finite weights in {path}. Received NaN or infinity. Use another file.")
    return kernels, biases


def _convolutions(file: Any) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return (kernel, bias) of each group of the file that has exactly one 4-D and one 1-D array, in natural order."""
    groups: dict[str, list[NDArray[np.float32]]] = {}

    def visit(name: str, item: object) -> None:
        if hasattr(item, "dtype"):
            groups.setdefault(name.rpartition("/")[0], []).append(np.asarray(item, dtype=np.float32))

    file.visititems(visit)
    pairs = {name: sorted(arrays, key=np.ndim, reverse=True) for name, arrays in groups.items()}
    return [
        (arrays[0], arrays[1])
        for name, arrays in sorted(pairs.items(), key=lambda pair: _natural(pair[0]))
        if [np.ndim(array) for array in arrays] == [4, 1]
    ]


def _natural(name: str) -> list[tuple[str, int]]:
    """Sort key in which conv2d comes before conv2d_2 and conv2d_2 before conv2d_10."""
    return [(text, int(number or 0)) for text, number in re.findall(r"([^\d]+)(\d*)", name)]


def _check(path: Path, kernels: list[tuple[int, ...]], biases: list[tuple[int, ...]]) -> None:
    expected = [tuple(shape) for shape in kernel_shapes()]
    if kernels != expected or biases != [shape[3:] for shape in expected]:
        raise WeightsError(
            f"Expected VGG16's {len(expected)} convolutions in {path}, kernels {expected}. "
            f"Received {len(kernels)}: {kernels}. Save the weights of a VGG16 with model.save_weights()."
        )
