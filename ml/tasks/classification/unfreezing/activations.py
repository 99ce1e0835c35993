"""Activations at a cut point: the fp32 backbone computes them once, and a file stores them as fp16 while needed.

The file's name is a hash of everything that decides its content. So a retry can use the file of an interrupted run.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ml.backbones.cpus import usable_cpus
from ml.backbones.cut_points import CutPoint
from ml.errors import MycoflowError, TrainingError
from ml.progress import Progress
from ml.settings import Settings

BATCH_IMAGES = 32
# Activations of published weights reach tens of thousands, and fp16 ends at 65,504. With this factor it ends at a
# million. A power of two loses no precision.
SCALE = 1 / 16
_STALE_SECONDS = 24 * 3600
_FREE_SHARE = 0.5  # the database may live on the same disk
_OUTPUT = "activations"

Activations = NDArray[np.float16]
ImageView = tuple[str, str]  # hash, view
ReadImages = Callable[[Sequence[ImageView]], NDArray[np.uint8]]


def activations_limit_bytes(settings: Settings) -> int:
    """Return the disk space for activations: MYCOFLOW_ACTIVATIONS_LIMIT_GB, but at most half of the free space."""
    settings.mycoflow_home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.mycoflow_home).free
    return int(min(settings.activations_limit_gb * 1e9, free * _FREE_SHARE))


@contextmanager
def stored_activations(
    home: Path,
    read: ReadImages,
    fp32_onnx: bytes,
    cut: CutPoint,
    views: Sequence[ImageView],
    on_progress: Progress | None = None,
) -> Iterator[Activations]:
    """Yield the activations of views of images at a cut point. Delete the file after the block, unless the block fails.

    Args:
        home: MYCOFLOW_HOME.
        read: reads the views, uint8 RGB (n, size, size, 3).
        fp32_onnx: the backbone before quantisation.
        cut: the cut point.
        views: views of stored images.
        on_progress: called with (images computed, images to compute).
    Yields: fp16 (len(views), height, width, channels), times SCALE, mapped from the file.
    Raises: TrainingError, the backbone's output is not finite, or the disk is full.
    """
    folder = home / "activations"
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    path = folder / f"{_content_key(fp32_onnx, cut, views)}.fp16"
    if path.exists():
        path.touch()  # this retry uses it, so it is not stale
    else:
        _write(path, read, fp32_onnx, cut, views, on_progress)
    yield np.memmap(path, np.float16, "r", shape=(len(views), *cut.shape))
    path.unlink(missing_ok=True)


def _content_key(fp32_onnx: bytes, cut: CutPoint, views: Sequence[ImageView]) -> str:
    backbone = hashlib.sha256(fp32_onnx).hexdigest()
    return hashlib.sha256(repr((backbone, cut, SCALE, list(views))).encode()).hexdigest()


def _remove_stale(folder: Path) -> None:
    """Delete the files of interrupted runs that had no retry."""
    for path in folder.iterdir():
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            path.unlink(missing_ok=True)


def _write(
    path: Path,
    read: ReadImages,
    fp32_onnx: bytes,
    cut: CutPoint,
    views: Sequence[ImageView],
    on_progress: Progress | None,
) -> None:
    """Write to a temporary file, then rename it: a file with the final name is complete.

    The file is written, not mapped: on a full disk, a write raises an error, but a mapped page ends the process.
    """
    with NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            _fill(file, read, fp32_onnx, cut, views, on_progress)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).rename(path)
        except MycoflowError:
            raise
        except OSError as error:
            raise TrainingError(
                f"Could not keep activations in {path.parent}: {error.strerror}. Expected "
                f"{cut.bytes_per_image * len(views)} bytes of free space there."
            ) from error
        finally:
            Path(file.name).unlink(missing_ok=True)


def _fill(
    file: IO[bytes],
    read: ReadImages,
    fp32_onnx: bytes,
    cut: CutPoint,
    views: Sequence[ImageView],
    on_progress: Progress | None,
) -> None:
    session = _open_session(cut_backbone(fp32_onnx, cut))
    for start in range(0, len(views), BATCH_IMAGES):
        images = read(views[start : start + BATCH_IMAGES])
        (batch,) = session.run([_OUTPUT], {"images": images})
        _check_finite(batch, cut)
        file.write(batch.tobytes())
        if on_progress:
            on_progress(start + len(images), len(views))


def _check_finite(batch: Activations, cut: CutPoint) -> None:
    if not np.isfinite(batch).all():
        raise TrainingError(
            f"Expected finite activations at {cut.tensor}, up to {float(np.finfo(np.float16).max) / SCALE:.3g}. "
            "Received larger values, infinity or NaN. The weights are damaged: retrain on the base backbone, or give "
            "other weights."
        )


def cut_backbone(fp32_onnx: bytes, cut: CutPoint) -> bytes:
    """Return the backbone up to a cut point, as ONNX.

    Its input is uint8 `images`; its output is `activations`, fp16, channels-last, times SCALE.
    """
    import onnx  # noqa: PLC0415
    from onnx import TensorProto, helper, numpy_helper, shape_inference  # noqa: PLC0415
    from onnx.utils import Extractor  # noqa: PLC0415

    whole = shape_inference.infer_shapes(onnx.load_model_from_string(fp32_onnx))
    model = Extractor(whole).extract_model(["images"], [cut.tensor])
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(SCALE, np.float32), "activations_scale"))
    graph.node.extend(
        [
            helper.make_node("Mul", [cut.tensor, "activations_scale"], ["scaled_activations"], "scale_activations"),
            helper.make_node(
                "Transpose", ["scaled_activations"], ["channels_last"], "to_channels_last", perm=[0, 2, 3, 1]
            ),
            helper.make_node("Cast", ["channels_last"], [_OUTPUT], "to_fp16", to=TensorProto.FLOAT16),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(_OUTPUT, TensorProto.FLOAT16, ["batch", *cut.shape]))
    return bytes(model.SerializeToString())


def _open_session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
