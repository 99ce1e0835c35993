"""Files in the two formats of torch.save, written here without torch."""

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.backbones.efficientnet_lite.torch_file import read_tensors
from ml.errors import WeightsError

TENSORS = {
    "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "strided": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "steps": np.array(7, dtype=np.int64),
}
Write = Callable[..., Path]


class Storage:
    def __init__(self, key: str, array: np.ndarray) -> None:
        self.key, self.array = key, array


class Tensor:
    """An array as torch pickles it: a call of _rebuild_tensor_v2 with the storage, offset, shape and strides."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def torch_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules and names that a pickle of torch refers to."""

    def _rebuild_tensor_v2() -> None: ...

    for module, names in {
        "torch": {name: type(name, (), {"__module__": "torch"}) for name in ("FloatStorage", "LongStorage")},
        "torch._utils": {"_rebuild_tensor_v2": _rebuild_tensor_v2},
    }.items():
        stand_in = types.ModuleType(module)
        stand_in.__dict__.update(names)
        monkeypatch.setitem(sys.modules, module, stand_in)
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> tuple[Any, ...] | None:
        if not isinstance(obj, Storage):
            return None
        kind = "FloatStorage" if obj.array.dtype == np.float32 else "LongStorage"
        return "storage", getattr(sys.modules["torch"], kind), obj.key, "cpu", obj.array.size


def pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def to_tensors(arrays: dict[str, np.ndarray]) -> tuple[dict[str, Tensor], list[Storage]]:
    storages = [Storage(str(1000 + index), np.ravel(each, order="K")) for index, each in enumerate(arrays.values())]
    return OrderedDict(
        (name, Tensor(storage, 0, each.shape, tuple(stride // each.itemsize for stride in each.strides)))
        for (name, each), storage in zip(arrays.items(), storages, strict=True)
    ), storages


def legacy(found: object, storages: list[Storage]) -> bytes:
    leading = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, found, [each.key for each in storages]]
    values = [struct.pack("<q", each.array.size) + each.array.tobytes() for each in storages]
    return b"".join([*map(pickled, leading), *values])


def archive(found: object, storages: list[Storage]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("weights/data.pkl", pickled(found))
        for each in storages:
            file.writestr(f"weights/data/{each.key}", each.array.tobytes())
    return buffer.getvalue()


FORMATS = pytest.mark.parametrize("write", [legacy, archive])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


@FORMATS
def test_tensors_of_either_format_are_read(path: Path, write: Callable[..., bytes]) -> None:
    path.write_bytes(write(*to_tensors(TENSORS)))
    found = read_tensors(path)
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@FORMATS
def test_tensors_may_share_a_storage(path: Path, write: Callable[..., bytes]) -> None:
    storage = Storage("1", np.arange(8, dtype=np.float32))
    path.write_bytes(write({"all": Tensor(storage, 0, (8,), (1,)), "odd": Tensor(storage, 1, (4,), (2,))}, [storage]))
    np.testing.assert_array_equal(read_tensors(path)["odd"], [1, 3, 5, 7])


class Attack:
    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


@FORMATS
@pytest.mark.parametrize("depth", [0, 1])
def test_a_pickle_that_would_run_something_is_refused_and_not_run(
    path: Path, write: Callable[..., bytes], depth: int
) -> None:
    trace = path.with_name("trace")
    for attack in (Attack(Path.touch, trace), Attack(exec, f"open({str(trace)!r}, 'w')"), Attack(getattr, Path, "cwd")):
        path.write_bytes(write({"kernel": attack} if depth else attack, []))
        with pytest.raises(WeightsError, match="it asks for "):
            read_tensors(path)
    assert not trace.exists()


class Change:
    """A known name, with a state to set on it."""

    def __init__(self, module: str, name: str, state: object) -> None:
        self.module, self.name, self.state = module, name, state

    def dump(self) -> bytes:
        # GLOBAL, the state, BUILD; then a dictionary as the result
        state = pickle.dumps(self.state, 2)[2:-1]
        return b"\x80\x02c" + f"{self.module}\n{self.name}\n".encode() + state + b"b0}."


@pytest.mark.parametrize("state", [{"__defaults__": (1,)}, (None, {"__defaults__": (1,)}), (None, {"storage": 1})])
@pytest.mark.parametrize(
    ("module", "name"),
    [("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict"), ("torch", "FloatStorage")],
)
def test_a_pickle_changes_nothing_of_what_it_may_name(path: Path, module: str, name: str, state: object) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("weights/data.pkl", Change(module, name, state).dump())
    path.write_bytes(buffer.getvalue())
    with pytest.raises(WeightsError):
        read_tensors(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("weights/data.pkl", bytes(10_000_000))
    with pytest.raises(WeightsError, match="compressed"):
        read_tensors(path)


@FORMATS
@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (9,), (1,)),
        (1, (8,), (1,)),
        (-1, (2,), (1,)),
        (7, (2,), (-1,)),
        (0, (2, 4), (5, 1)),
        (0, (1 << 40,), (0,)),
        (0, (4, 4), (1, 1)),
        (0, (-2, -4), (1, 1)),
        (0, (0,), (1,)),
        (0, (2, 2), (1,)),
    ],
)
def test_a_tensor_outside_of_its_storage_is_refused(
    path: Path, write: Callable[..., bytes], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    storage = Storage("1", np.arange(8, dtype=np.float32))
    path.write_bytes(write({"kernel": Tensor(storage, offset, shape, strides)}, [storage]))
    with pytest.raises(WeightsError, match=r"Save network\.state_dict"):
        read_tensors(path)


@FORMATS
def test_a_file_that_ends_early_is_refused(path: Path, write: Callable[..., bytes]) -> None:
    whole = write(*to_tensors(TENSORS))
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match=r"weights\.pth"):
            read_tensors(path)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", pickle.dumps({"kernel": 1}), b"PK\3\4"])
def test_something_else_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        read_tensors(path)


@FORMATS
@pytest.mark.parametrize("found", [[], 3, {"kernel": 3}, {"kernel": np.float32}])
def test_a_pickle_without_a_dictionary_of_tensors_is_refused(
    path: Path, write: Callable[..., bytes], found: object
) -> None:
    path.write_bytes(write(found, []))
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        read_tensors(path)
