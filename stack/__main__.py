"""`python -m stack up` and `python -m stack demo`."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ml.cli.terminal import SafeConsole
from ml.errors import MycoflowError
from stack.demo.play_demo import play
from stack.up import run_stack

app = typer.Typer(help="Run all of Mycoflow on this machine.", no_args_is_help=True, add_completion=False)


@app.command()
def up() -> None:
    """Start all servers on the data under MYCOFLOW_HOME, and keep them running until Ctrl-C."""
    sys.exit(_reporting(run_stack))


@app.command()
def demo(
    photos: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Photos of your own, one sub-folder per class.")
    ] = None,
) -> None:
    """Play two nights on handwritten digits, or on photos, in a separate folder, and stop."""
    sys.exit(_reporting(partial(play, photos)))


def _reporting(action: Callable[[Console], int]) -> int:
    console = SafeConsole()
    try:
        return action(console)
    except MycoflowError as error:
        SafeConsole(stderr=True).print(
            f"[bold red]{type(error).__name__}[/]: {escape(str(error))}", highlight=False, soft_wrap=True
        )
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130


if __name__ == "__main__":
    app()
