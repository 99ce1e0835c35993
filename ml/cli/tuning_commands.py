"""`mycoflow tune`: search for better hyperparameters."""

from typing import Annotated

import typer

from ml import cycle
from ml.cli.training_progress import run_training
from ml.reporting.alert_delivery import alerting_workspace
from ml.training.recipes import Tune

tuning_app = typer.Typer()


@tuning_app.command()
def tune(
    command: typer.Context,
    trials: Annotated[int, typer.Option(help="Number of heads to train in the search.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of each initial head, the shuffling and the dropout.")] = 0,
    reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "asked for on the command line",
    request_key: Annotated[
        str | None, typer.Option(help="Give the key of an interrupted run to continue where it stopped.")
    ] = None,
) -> None:
    """Search for a head's hyperparameters, train with the best, and promote the model if it passes the gate."""
    with alerting_workspace() as workspace:
        parameters = Tune(workspace.settings.snapshot_size, trials, seed)
        run_training(command, workspace, request_key, reason, parameters, cycle.TUNE_STEPS)
