"""`make bench`: measure all parts, one after the other, then print a table and write var/bench/latest.json.

    python -m benchmarks [--data FOLDER] [--quick] [PART ...]

The parts are training, serving, backbones, gemm and catalog; all of them by default. README.md has the last full table.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from benchmarks import bench_report
from benchmarks.backbone_nights import measure_backbones
from benchmarks.bench_settings import BenchSettings, load_settings
from benchmarks.catalog_queries import measure_catalog
from benchmarks.competitors import measure_competitors
from benchmarks.dataset import Dataset, fresh_images, open_dataset
from benchmarks.deployment import ROOT, Deployment, new_deployment, plain_environment
from benchmarks.gemm import measure_gemm
from benchmarks.serving_speed import measure_serving, served_bundle
from benchmarks.training_time import describe_champion, measure_training
from ml.backbones.registered import FIRST_BACKBONE
from ml.errors import MycoflowError
from stack.home_lock import exclusive


@dataclass(frozen=True)
class Bench:
    """The deployment that the parts measure. Its photos are ingested."""

    settings: BenchSettings
    folder: Path
    dataset: Dataset
    deployment: Deployment

    def measure(self, part: str) -> dict[str, float]:
        """Measure one part. Serving and gemm need a model: training makes one, otherwise `mycoflow retrain`."""
        return PARTS[part](self)

    def need_model(self) -> None:
        """Put a model into production if there is none."""
        if describe_champion(self.deployment) is None:
            self.deployment.run("retrain")


def _training(bench: Bench) -> dict[str, float]:
    return measure_training(bench.deployment, bench.dataset, bench.settings, bench.folder / "arrivals")


def _serving(bench: Bench) -> dict[str, float]:
    bench.need_model()
    images, plan = fresh_images(bench.dataset.evaluation), bench.settings.plan
    figures = measure_serving(bench.deployment, images, plan, bench.settings.repeats)
    return figures | measure_competitors(bench.deployment, images, plan)


def _backbones(bench: Bench) -> dict[str, float]:
    return measure_backbones(bench.settings, bench.dataset, bench.folder / "backbones")


def _gemm(bench: Bench) -> dict[str, float]:
    bench.need_model()
    return measure_gemm(served_bundle(bench.deployment))


def _catalog(bench: Bench) -> dict[str, float]:
    return measure_catalog(bench.deployment.home)


PARTS: dict[str, Callable[[Bench], dict[str, float]]] = {
    "training": _training,
    "serving": _serving,
    bench_report.BACKBONES_PART: _backbones,
    "gemm": _gemm,
    "catalog": _catalog,
}


def main() -> None:
    """Run the command. An expected error becomes one message and exit status 1."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS], help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, help="folder with initial/ and evaluation/; the digits by default")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    told = parser.parse_args()
    os.environ.update(plain_environment())  # for everything that is measured in a separate process
    try:
        run(told.parts or list(PARTS), load_settings(told.data, quick=told.quick), ROOT / "var" / "bench", Console())
    except MycoflowError as error:
        Console(stderr=True, soft_wrap=True).print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)


def run(parts: list[str], settings: BenchSettings, folder: Path, console: Console) -> None:
    """Measure some parts in a folder, and write latest.json there.

    Raises: SettingsError, another run uses the folder.
    """
    with exclusive(folder, "bench"):
        bench = _prepare(settings, folder, console)
        latest = bench_report.Report(bench_report.describe(settings, bench.dataset))
        for part in parts:
            console.print(f"Measuring {part} ...")
            latest.sections[part] = bench.measure(part)
            latest.about["model"] = describe_champion(bench.deployment) or "none"
            latest.write(folder / "latest.json")
    bench_report.print_report(latest, console)


def _prepare(settings: BenchSettings, folder: Path, console: Console) -> Bench:
    """Make a new deployment, and ingest the photos."""
    for name in ("home", "data", "arrivals", "backbones"):
        shutil.rmtree(folder / name, ignore_errors=True)
    console.print("Preparing a deployment with the photos ...")
    dataset = open_dataset(settings, folder / "data")
    deployment = new_deployment(settings, folder / "home", FIRST_BACKBONE)
    deployment.run("ingest", str(dataset.evaluation), "--split", "evaluation")
    deployment.run("ingest", str(dataset.initial), "--split", "pool")
    return Bench(settings, folder, dataset, deployment)


if __name__ == "__main__":
    main()
