"""Read the tensors of a file that torch.save wrote, without torch and without running what a pickle may contain.

Only names that a plain dictionary of tensors needs are looked up; a file with any other is refused.

Source: torch/serialization.py, `_legacy_load` (pickles, then the storages) and `_load` (a zip archive).
"""

import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ml.errors import WeightsError

Array = NDArray[np.generic]
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_LEADING_PICKLES = 3  # magic number, version of the protocol, facts about the machine
_DTYPES: Mapping[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read_tensors(path: Path) -> dict[str, Array]:
    """Read a dictionary of tensors, such as a network's `state_dict`.

    Returns: float32 or int64 arrays, in memory of their own.
    Raises: WeightsError, the file is not such a dictionary, or is damaged.
    """
    try:
        with path.open("rb") as file:
            is_archive = zipfile.is_zipfile(file)
            file.seek(0)
            found, storages = _read_zip(file) if is_archive else _read_legacy(file)
        return {str(name): _to_array(tensor, storages) for name, tensor in found.items()}
    except Exception as error:  # damaged pickles and archives raise almost anything
        raise WeightsError(
            f"Expected a dictionary of float32 tensors, saved by torch.save, at {path}. It cannot be read ({error}). "
            "Save network.state_dict() again."
        ) from error


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Tensor:
    """A view into a storage: its offset and its strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _ToTensor:
    """Makes a tensor. A pickle can set attributes of a function, but not of this."""

    __slots__ = ()

    def __call__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> _Tensor:
        return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _to_array(tensor: _Tensor, storages: Mapping[str, bytes]) -> Array:
    values = np.frombuffer(storages[tensor.storage.key], tensor.storage.dtype)
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True))
    smallest = min((tensor.offset, *tensor.shape, *tensor.strides), default=0)
    if smallest < 0 or last >= len(values) or not 0 < math.prod(tensor.shape) <= len(values):
        raise ValueError(f"a tensor of shape {tensor.shape} lies outside of its storage")
    strides = [stride * values.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.ascontiguousarray(view)


class _Unpickler(pickle.Unpickler):
    # Nothing that a pickle could change: immutable types, texts, and an object without attributes.
    _ALLOWED: Mapping[tuple[str, str], object] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _ToTensor(),
        **{("torch", name): name for name in _DTYPES},
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, reference: Any) -> _Storage:
        """Args: reference, ("storage", type, key, device, number of elements)."""
        return _Storage(str(reference[2]), _DTYPES[reference[1]])


def _read_legacy(file: BinaryIO) -> tuple[Mapping[str, _Tensor], dict[str, bytes]]:
    if _Unpickler(file).load() != _MAGIC_NUMBER:
        raise pickle.UnpicklingError("it does not begin as torch's files do")
    for _ in range(_LEADING_PICKLES - 1):
        _Unpickler(file).load()
    unpickler = _Unpickler(file)
    found: Mapping[str, _Tensor] = unpickler.load()
    sizes = {tensor.storage.key: tensor.storage.dtype.itemsize for tensor in found.values()}
    storages = {}
    for key in _Unpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = file.read(max(count, 0) * sizes[key])
    return found, storages


def _read_zip(file: BinaryIO) -> tuple[Mapping[str, _Tensor], dict[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise zipfile.BadZipFile("it is compressed, as torch's files never are")
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = pickled.removesuffix("data.pkl")
        found: Mapping[str, _Tensor] = _Unpickler(io.BytesIO(archive.read(pickled))).load()
        keys = {tensor.storage.key for tensor in found.values()}
        return found, {key: archive.read(f"{folder}data/{key}") for key in keys}
