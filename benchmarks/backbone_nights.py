"""Both backbones side by side in one run: a night, the service under load, and its memory.

Each backbone has a deployment of its own with the same photos, and serves as it would by default: at its own image
size, in the precision that the comparison with fp32 allows.
"""

from pathlib import Path

from PIL import Image

from benchmarks.bench_settings import BACKBONES, BenchSettings
from benchmarks.dataset import Dataset, fresh_images, write_changed
from benchmarks.deployment import Deployment, new_deployment
from benchmarks.serving_speed import measure_serving
from benchmarks.training_time import describe_champion, evaluate_champion

# Of the service's figures, those that depend on the backbone. The others measure accounts and the cache.
_SERVED = ("serve_rps", "serve_p50_ms", "serve_p95_ms", "serve_rss_mb", "serve_start_seconds")


def measure_backbones(settings: BenchSettings, dataset: Dataset, folder: Path) -> dict[str, float]:
    """Measure each backbone.

    Args: folder, for the deployments and the photos that arrive before the night.
    Returns: the figures, each with the name of its backbone in front.
    """
    arrived = folder / "arrived"
    write_changed(dataset.initial, arrived, Image.Transpose.FLIP_LEFT_RIGHT)
    figures: dict[str, float] = {}
    for name in BACKBONES:
        deployment = new_deployment(settings, folder / name, name)
        deployment.run("ingest", str(dataset.evaluation), "--split", "evaluation")
        deployment.run("ingest", str(dataset.initial), "--split", "pool")
        measured = _measure_nights(deployment, arrived) | _measure_service(deployment, dataset, settings)
        figures |= {f"{name}_{figure}": value for figure, value in measured.items()}
    return figures


def _measure_nights(deployment: Deployment, arrived: Path) -> dict[str, float]:
    """Measure the first training, which makes the backbone too, and a night in which half of the images are new."""
    first = deployment.run("retrain").seconds
    deployment.run("ingest", str(arrived), "--split", "pool")
    night = deployment.run("monitor").seconds + deployment.run("retrain").seconds
    bits = 8 if str(describe_champion(deployment)).endswith("int8") else 32
    figures = {"first_training_seconds": first, "night_seconds": night, "precision_bits": bits}
    return figures | evaluate_champion(deployment)


def _measure_service(deployment: Deployment, dataset: Dataset, settings: BenchSettings) -> dict[str, float]:
    figures = measure_serving(deployment, fresh_images(dataset.evaluation), settings.plan, settings.repeats)
    return {name: value for name, value in figures.items() if name.startswith(_SERVED)}
