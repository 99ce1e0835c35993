"""What the commands share: the console, progress bars, and who is typing."""

import getpass
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

from ml.progress import Progress, StepProgress

out = Console()


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A bar; what it gives is called with (done, total)."""
    with _bar() as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def steps(names: Sequence[str]) -> Iterator[StepProgress]:
    """One line per step of a training, with a bar while it counts something."""
    with _bar() as bar:
        tasks = {step: bar.add_task(step, total=None, start=False) for step in names}

        def on_step(step: str, done: int, total: int) -> None:
            bar.start_task(tasks[step])
            bar.update(tasks[step], completed=done, total=total)

        yield on_step


def _bar() -> bars.Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return bars.Progress(*columns, console=out)


def person() -> str:
    """Who types, for the journal."""
    return getpass.getuser()
