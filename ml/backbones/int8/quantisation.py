"""Quantise a backbone to int8: static quantisation by ONNX Runtime, with ranges measured on real images."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.backbones.onnx_files import INPUT_NAME, SCALE_NODE
from ml.progress import Progress

if TYPE_CHECKING:
    from onnxruntime.quantization import CalibrationDataReader

CALIBRATION_IMAGES = 64


def quantise_backbone(
    fp32_onnx: bytes,
    images: NDArray[np.uint8],
    kept_in_fp32: Sequence[str],
    reduce_range: bool,
    on_progress: Progress | None = None,
) -> bytes:
    """Give the convolutions int8 weights, a scale for each channel, and uint8 activations.

    Args:
        fp32_onnx: what the backbone's `export_onnx` returned.
        images: calibration images, uint8 RGB, (n, image_size, image_size, 3), n from 1. They set the ranges of the
            activations, so they should look like the images that the backbone will see.
        kept_in_fp32: names of the nodes that stay as they are.
        reduce_range: use weights of 7 bits, for CPUs whose 8-bit products saturate.
        on_progress: called with (images done, images to do) while ranges are measured.
    Returns: ONNX with the same input and output as `fp32_onnx`.
    Source: arXiv 1712.05877; onnxruntime.quantization, format QDQ.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415 - imports onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        original, prepared, quantised = (Path(folder) / name for name in ("fp32.onnx", "prepared.onnx", "int8.onnx"))
        original.write_bytes(fp32_onnx)
        quant_pre_process(original, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            _reader(images, on_progress),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[SCALE_NODE, *kept_in_fp32],
        )
        return quantised.read_bytes()


def _reader(images: NDArray[np.uint8], on_progress: Progress | None) -> "CalibrationDataReader":
    """Give the calibration one image at a time: a larger batch is no faster and needs more memory."""
    from onnxruntime.quantization import CalibrationDataReader  # noqa: PLC0415

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = _feeds(images, on_progress)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self._feeds, None)

    return Reader()


def _feeds(images: NDArray[np.uint8], on_progress: Progress | None) -> Iterator[dict[str, NDArray[np.uint8]]]:
    for index in range(len(images)):
        yield {INPUT_NAME: images[index : index + 1]}
        if on_progress:
            on_progress(index + 1, len(images))
