"""What a network costs on this machine: the time for one image, and the memory of a process that runs it.

    python -m ml.training.comparison.network_costs < network.onnx

prints the memory as JSON. `measure_memory` starts it, so that nothing else counts.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from ml.backbones.onnx_runtime import OnnxBackbone
from ml.errors import ModelLoadError
from ml.progress import Progress

ROUNDS = 15
_ROOT = Path(__file__).parents[3]


def measure_milliseconds(
    networks: Sequence[bytes], pixels: Sequence[NDArray[np.uint8]], on_progress: Progress | None = None
) -> list[float]:
    """Measure the time for one image on all CPUs, as a request that is alone gets them.

    The networks take turns, so that other work on this machine disturbs all of them alike. Each turn has two runs, and
    the second one counts: the first brings the network back into the caches.

    Args:
        networks: ONNX files.
        pixels: an image for each, uint8 RGB, (1, size, size, 3).
        on_progress: called with (rounds done, rounds to do).
    Returns: the median of each, milliseconds.
    """
    opened = [OnnxBackbone(onnx) for onnx in networks]
    seconds: list[list[float]] = [[] for _ in opened]
    for done in range(ROUNDS):
        for network, image, measured in zip(opened, pixels, seconds, strict=True):
            network.features(image)
            began = time.perf_counter()
            network.features(image)
            measured.append(time.perf_counter() - began)
        if on_progress:
            on_progress(done + 1, ROUNDS)
    return [1000 * median(each) for each in seconds]


def measure_memory(onnx: bytes) -> float:
    """Measure the resident memory of a new process that runs a network and nothing else, after some images.

    Returns: megabytes.
    Raises: ModelLoadError, the process failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", __name__]
    try:
        done = subprocess.run(  # noqa: S603 - a list, no shell
            command, env=environment, input=onnx, capture_output=True, check=True
        )
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ModelLoadError(
            f"Expected a process to run a network of {len(onnx)} bytes. It ended with status {error.returncode}: "
            f"{said or 'it said nothing'}. Free some memory, then try again."
        ) from error
    return float(json.loads(done.stdout)["memory_mb"])


def main() -> None:
    """Read a network from standard input, run it, and print the memory of this process."""
    import psutil  # noqa: PLC0415 - only here, and MLflow needs it too

    network = OnnxBackbone(sys.stdin.buffer.read())
    image = np.zeros((1, network.image_size, network.image_size, 3), np.uint8)
    for _ in range(3):
        network.features(image)
    print(json.dumps({"memory_mb": psutil.Process().memory_info().rss / 2**20}))  # noqa: T201 - for the parent


if __name__ == "__main__":
    main()
