"""The result of the demo: a table for people, summary.json for programs."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stack.follow import FollowedRun

MOST_SHOWN = 20


@dataclass
class Summary:
    """The figures of one demo. Accuracies are shares between 0 and 1.

    Args:
        images: what they show.
        first_images: in the pool in the first night.
        new_images: since then.
        gate_v2: the gate's reasons to promote or keep out the second version.
        example_class: of the image that the service was asked about.
    """

    images: str
    first_images: int
    accuracy_v1: float
    accuracy_v2: float
    new_images: int
    retrain_reason: str
    gate_v2: list[str]
    production_version: int
    example_class: str
    prediction: str
    prediction_model_version: int
    first_prediction: str
    first_prediction_model_version: int
    dag_runs: list[FollowedRun]
    backbone: str
    weights: str
    image_size: int
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


def print_skipped(sentences: Sequence[str], console: Console) -> None:
    """Print one line per file or class that is left out, but not more than a screen of them."""
    if sentences:
        console.print(f"  left out ({len(sentences)}):")
    for sentence in sentences[:MOST_SHOWN]:
        console.print(f"    {escape(sentence)}", highlight=False, soft_wrap=True)
    if len(sentences) > MOST_SHOWN:
        console.print(f"    ... and {len(sentences) - MOST_SHOWN} more")


def print_summary(summary: Summary, console: Console) -> None:
    """Print the two nights side by side, and the time of each phase."""
    nights = Table(title=f"Two nights on {summary.images}")
    for column in ("", "first night", "second night"):
        nights.add_column(column, overflow="fold")
    nights.add_row("reason", "requested by hand: no model yet", summary.retrain_reason)
    nights.add_row("new images", str(summary.first_images), str(summary.new_images))
    nights.add_row("model version", "1", "2")
    nights.add_row("accuracy", f"{summary.accuracy_v1:.1%}", f"{summary.accuracy_v2:.1%}")
    nights.add_row("in production after", "1", str(summary.production_version))
    first = f"{summary.first_prediction} (version {summary.first_prediction_model_version})"
    second = f"{summary.prediction} (version {summary.prediction_model_version})"
    nights.add_row(
        f"the service's answer to an image of {escape(summary.example_class)!r}", escape(first), escape(second)
    )
    console.print(nights)
    times = Table(title=f"{summary.wall_seconds:.0f} s in all")
    times.add_column("phase")
    times.add_column("seconds", justify="right")
    for name, seconds in summary.phase_seconds.items():
        times.add_row(name, f"{seconds:.1f}")
    console.print(times)
