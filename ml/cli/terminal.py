"""Shared by all commands: the console, progress bars, the catalog, and the name of the user."""

import getpass
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from rich import progress as bars
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from ml.catalog.class_names import is_visible
from ml.catalog.database import open_catalog
from ml.progress import Progress, StepProgress
from ml.settings import load_settings


class SafeConsole(Console):
    """A console for texts from elsewhere, such as names of files and classes: it shows control characters as codes."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a printable text of each string that is printed, also in tables. rich removes only a few controls."""
        return super().render_str(show_controls(text), **options)


def show_controls(text: str) -> str:
    """Return a text with its control and direction characters as codes, except line breaks and tabs."""
    return "".join(each if each in "\n\t" or is_visible(each) else ascii(each)[1:-1] for each in text)


class SafeFormatter(logging.Formatter):
    """Formats log lines for a terminal: a record's text may quote names of files, which may hold control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without control characters."""
        return show_controls(super().format(record))


# Nothing printed is markup: a path or the name of a class may contain [brackets] or :colons:.
out = SafeConsole(markup=False, emoji=False)
error_out = SafeConsole(markup=False, emoji=False, stderr=True)  # beside output for machines


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Show a progress bar. Yields: the callback that moves it, called with (done, total)."""
    with _bar() as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def steps(names: Sequence[str], console: Console = out) -> Iterator[StepProgress]:
    """Show one line per step of long work, with a progress bar. Yields: the callback (step, done, total)."""
    with _bar(console) as bar:
        tasks = {step: bar.add_task(step, total=None, start=False) for step in names}

        def on_step(step: str, done: int, total: int) -> None:
            bar.start_task(tasks[step])
            bar.update(tasks[step], completed=done, total=total)

        yield on_step


def _bar(console: Console = out) -> bars.Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return bars.Progress(*columns, console=console)


@contextmanager
def catalog_connection() -> Iterator[sa.Connection]:
    """Open the settings' catalog for one transaction."""
    with open_catalog(load_settings()) as catalog, catalog.begin() as connection:
        yield connection


def person() -> str:
    """Return the name of the operating system's user, for the journal and the audit log."""
    return getpass.getuser()
