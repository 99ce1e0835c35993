"""Shared by all commands that train: run the training, show its progress, and print its result."""

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC

import typer

from ml import cycle
from ml.app import Workspace
from ml.catalog.models import attempts, journal
from ml.catalog.models.attempts import Attempt
from ml.cli.terminal import out, steps
from ml.training.recipes import Recipe, decode_recipe, options_of


def run_training(
    command: typer.Context,
    workspace: Workspace,
    request_key: str | None,
    reason: str,
    recipe: Recipe,
    names: Sequence[str],
) -> None:
    """Run a training in this process and print its result.

    Args:
        command: context of the typer command, which shows the options that the user gave.
        request_key: key of an interrupted run to continue. The run keeps its own options, except those that the user
            gives now. None starts a new run.
        names: names of the training's steps, in order.
    """
    key = request_key or f"cli-{uuid.uuid4().hex[:12]}"
    out.print(f"Request {key}")
    found = _find_attempt(workspace, key)
    if found is not None:
        recipe = _resume(command, found, recipe)
    with steps(names) as on_step:
        report = cycle.retrain(workspace, key, reason, recipe, on_step)
    if found is not None and found.finished_at is not None:
        ended_at = f"{found.finished_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        out.print(f"This request ended at {ended_at}: nothing was trained now. Its verdict was:")
    out.print(f"Version {report.model_version}: {report.verdict.decision}.")
    for line in [*report.verdict.reasons, *report.verdict.warnings]:
        out.print(f"  {line}")
    out.print(f"In production: version {report.production_version}.")
    if report.is_in_shadow:
        hours = workspace.settings.shadow_hours
        out.print(
            f"MYCOFLOW_SHADOW_HOURS={hours:g}: version {report.model_version} answers uploads beside the champion that "
            f"long. After that, give --request-key {key} to promote it. `mycoflow promote {report.model_version}` puts "
            "it into production now."
        )
    with workspace.catalog.begin() as connection:
        is_promoted = report.model_version in journal.versions_ever_in_production(connection)
    if workspace.settings.promotion == "approve" and report.verdict.decision == "promote" and not is_promoted:
        out.print(
            f"MYCOFLOW_PROMOTION=approve: version {report.model_version} was not promoted, because nobody has approved "
            f"it. `mycoflow promote {report.model_version}` puts it into production."
        )


def _find_attempt(workspace: Workspace, request_key: str) -> Attempt | None:
    with workspace.catalog.begin() as connection:
        return attempts.find_attempt(connection, request_key)


def _resume(command: typer.Context, attempt: Attempt, recipe: Recipe) -> Recipe:
    """Return the recipe of an attempt, with the options that the command line gives."""
    began = decode_recipe(attempt.parameters)
    if began.kind != recipe.kind:
        return recipe  # cycle.retrain refuses a recipe of another kind
    given = {name: value for name, value in options_of(recipe).items() if _is_given(command, name)}
    return replace(began, **given)  # type: ignore[arg-type]  # the keys are names of its fields


def _is_given(command: typer.Context, name: str) -> bool:
    source = command.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
