"""The result of the demo: a table for people, summary.json for programs."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stack.follow import FollowedRun


@dataclass
class Summary:
    """The figures of one demo. Accuracies are shares between 0 and 1."""

    accuracy_v1: float
    accuracy_v2: float
    new_images: int
    retrain_reason: str
    production_version: int
    prediction: str
    prediction_model_version: int
    first_prediction: str
    first_prediction_model_version: int
    dag_runs: list[FollowedRun]
    weights: str | None
    image_size: int | None
    phase_seconds: dict[str, float] = field(default_factory=dict)
    wall_seconds: float = 0.0

    def write(self, path: Path) -> None:
        """Write summary.json."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


@dataclass
class Stopwatch:
    """The seconds that each phase of the demo took."""

    seconds: dict[str, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)

    @property
    def total(self) -> float:
        return round(time.monotonic() - self._started, 1)


def print_summary(summary: Summary, console: Console) -> None:
    """Print the two nights side by side, and the time of each phase."""
    nights = Table(title="Two nights on handwritten digits")
    for column in ("", "first night", "second night"):
        nights.add_column(column, overflow="fold")
    nights.add_row("reason", "requested by hand: no model yet", summary.retrain_reason)
    nights.add_row("new images", "1000", str(summary.new_images))
    nights.add_row("model version", "1", "2")
    nights.add_row("accuracy", f"{summary.accuracy_v1:.1%}", f"{summary.accuracy_v2:.1%}")
    nights.add_row("in production after", "1", str(summary.production_version))
    first = f"{summary.first_prediction} (version {summary.first_prediction_model_version})"
    nights.add_row("the service says", first, f"{summary.prediction} (version {summary.prediction_model_version})")
    console.print(nights)
    times = Table(title=f"{summary.wall_seconds:.0f} s in all")
    times.add_column("phase")
    times.add_column("seconds", justify="right")
    for name, seconds in summary.phase_seconds.items():
        times.add_row(name, f"{seconds:.1f}")
    console.print(times)
