"""Compare the backbone's operations per second with those of one large matrix product, the limit of the machine.

ONNX Runtime computes the products too, on all CPUs: MatMul in fp32, MatMulInteger in int8 (unsigned by signed, as in
the quantised backbone). A multiplication and its addition count as two operations.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
from numpy.typing import DTypeLike, NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.apart import apart
from ml.backbones.cpus import usable_cpus
from ml.backbones.onnx_runtime import BATCH_SIZE
from ml.backbones.preprocessing import INPUT_CHANNELS
from ml.backbones.vgg16.architecture import FILTERS_PER_BLOCK
from ml.tasks.classification.classifier import Classifier

_SIDES = (512, 1024, 2048)  # memory limits the largest on some machines
_RUNS = 10


def measure_gemm(bundle: Path) -> dict[str, float]:
    """Measure both products and a model version.

    Args: bundle, folder of the files of the model version in production.
    """
    fp32 = apart(product_gflops, "MatMul", np.float32, np.float32)
    int8 = apart(product_gflops, "MatMulInteger", np.uint8, np.int8)
    precision, gflops = apart(backbone_gflops, bundle)
    peak = int8 if precision == "int8" else fp32
    return {
        "gemm_fp32_gflops": fp32,
        "gemm_int8_gflops": int8,
        "backbone_gflops": gflops,
        "backbone_share": gflops / peak,
    }


def product_gflops(operator: str, left: DTypeLike, right: DTypeLike) -> float:
    """Measure the giga-operations per second of a product of two square matrices, at the fastest size.

    Args: operator, the ONNX operator; left and right, the types of its inputs.
    """
    return max(_product_gflops(operator, left, right, side) for side in _SIDES)


def backbone_gflops(bundle: Path) -> tuple[str, float]:
    """Return a version's precision, and the giga-operations per second of its convolutions in batches of 32 images."""
    classifier = Classifier.load(bundle)
    size = classifier.card.image_size
    images = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, size, size, INPUT_CHANNELS), np.uint8)
    seconds = _median_seconds(lambda: classifier.predict(images))
    return classifier.card.precision, BATCH_SIZE * convolution_operations(size) / seconds / 1e9


def convolution_operations(image_size: int) -> int:
    """Count the operations of VGG16's convolutions for one image."""
    operations, channels, side = 0, INPUT_CHANNELS, image_size
    for block in FILTERS_PER_BLOCK:
        for filters in block:
            operations += 2 * side**2 * 9 * channels * filters
            channels = filters
        side //= 2
    return operations


def _product_gflops(operator: str, left: DTypeLike, right: DTypeLike, side: int) -> float:
    factors = np.random.default_rng(0).integers(0, 100, (2, side, side))
    inputs = {"a": factors[0].astype(left)}
    session = _open(operator, inputs["a"], factors[1].astype(right))
    return 2 * side**3 / _median_seconds(lambda: session.run(None, inputs)) / 1e9


def _open(operator: str, left: NDArray[np.generic], right: NDArray[np.generic]) -> onnxruntime.InferenceSession:
    """Open a session with a constant right matrix, as weights are: ONNX Runtime packs it once, in advance."""
    product = TensorProto.FLOAT if operator == "MatMul" else TensorProto.INT32
    source = helper.make_tensor_value_info("a", helper.np_dtype_to_tensor_dtype(left.dtype), left.shape)
    output = helper.make_tensor_value_info("c", product, left.shape)
    node = helper.make_node(operator, ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", [source], [output], [numpy_helper.from_array(right, "b")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _median_seconds(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return median(seconds)
