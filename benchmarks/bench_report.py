"""The report of the benchmarks: a table for people, latest.json for programs."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.bench_settings import BACKBONES, BenchSettings
from benchmarks.dataset import Dataset
from benchmarks.derived_figures import TARGETS, compare
from ml.backbones.cpus import usable_cpus

BACKBONES_PART = "backbones"  # its figures have a table of their own


@dataclass(frozen=True)
class Report:
    """The report of one run.

    Args:
        about: the machine, the photos and the settings.
        sections: part -> its figures; accuracies are shares between 0 and 1.
    """

    about: dict[str, str]
    sections: dict[str, dict[str, float]] = field(default_factory=dict)

    def figures(self) -> dict[str, float]:
        """Return the figures of all sections, and the ratios between them."""
        measured = {name: value for section in self.sections.values() for name, value in section.items()}
        return measured | compare(measured)

    def write(self, path: Path) -> None:
        """Write latest.json."""
        path.write_text(json.dumps({"about": self.about, "figures": self.figures()}, indent=2) + "\n")


def describe(settings: BenchSettings, dataset: Dataset) -> dict[str, str]:
    """Describe the machine, the photos and the settings of the measurement."""
    return {
        "measured at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{_processor()}, {usable_cpus()} CPUs, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "photos": dataset.name,
        **{name: _describe_network(settings, name) for name in BACKBONES},
        "length": "quick: one round, the recipe's two epochs times 43" if settings.quick else "full",
    }


def _describe_network(settings: BenchSettings, backbone: str) -> str:
    size = settings.image_size_of(backbone)
    return f"{settings.weights_of(backbone)} weights, {size} x {size}"


def print_report(report: Report, console: Console) -> None:
    """Print the machine, then each figure with its target."""
    about = Table(show_header=False, box=None)
    for name, value in report.about.items():
        about.add_row(name, value)
    console.print(about)
    table = Table("figure", title="Benchmarks")
    table.add_column("value", justify="right")
    table.add_column("target")
    table.add_column("")
    side_by_side = report.sections.get(BACKBONES_PART, {})
    sections = {part: figures for part, figures in report.sections.items() if part != BACKBONES_PART}
    for part, figures in {**sections, "ratios": compare(report.figures())}.items():
        table.add_row(f"[bold]{part}")
        for row in _rows(figures):
            table.add_row(*row)
        table.add_section()
    console.print(table)
    if side_by_side:
        console.print(_compare_backbones(side_by_side))


def _compare_backbones(figures: Mapping[str, float]) -> Table:
    """Return a table with a column for each backbone. Args: figures, with the name of a backbone in front."""
    table = Table("figure", title="Backbones side by side")
    for backbone in BACKBONES:
        table.add_column(backbone, justify="right")
    first = f"{BACKBONES[0]}_"
    for name in (each.removeprefix(first) for each in figures if each.startswith(first)):
        table.add_row(name, *(_rounded(figures[f"{backbone}_{name}"]) for backbone in BACKBONES))
    return table


def _rows(figures: Mapping[str, float]) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, value in figures.items():
        target = TARGETS.get(name)
        verdict = "" if target is None else "met" if target.is_met_by(value) else "[red]missed"
        rows.append((name, _rounded(value), str(target or ""), verdict))
    return rows


def _rounded(value: float) -> str:
    """Round to three significant digits, but keep all digits before the decimal point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or os.uname().machine
