"""`mycoflow backbones` and `compare-backbones`: list the networks that can compute features, and compare them."""

import json
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from ml.app import open_workspace
from ml.backbones.backbone_costs import measure_cost
from ml.backbones.registered import FIRST_BACKBONE, REGISTERED, find_backbone
from ml.cli.terminal import error_out, out, steps
from ml.errors import SettingsError
from ml.training.chosen_backbone import kept_backbone
from ml.training.comparison.backbone_comparison import plan_comparison, run_comparison
from ml.training.comparison.candidates import PRECISIONS, ComparisonRequest
from ml.training.comparison.compared_backbones import ComparedBackbone, Comparison

backbone_app = typer.Typer()


@backbone_app.command()
def backbones() -> None:
    """List the backbones: weights, number of features, and cost of one image in fp32, measured on this machine."""
    with open_workspace() as workspace:
        kept, image_size = kept_backbone(workspace.catalog), workspace.settings.image_size
    for name in REGISTERED:
        backbone = find_backbone(name)
        cost = measure_cost(backbone, image_size)
        choice = ", the choice of this home" if name == kept else ""
        out.print(
            f"{name}{choice}: {backbone.feature_count} features, {cost.parameters / 1e6:.1f} million parameters",
            soft_wrap=True,
        )
        out.print(
            f"  an image of {cost.image_size} pixels takes {cost.milliseconds:.1f} ms here and "
            f"{cost.multiply_adds / 1e9:.2f} billion multiply-adds, in fp32",
            soft_wrap=True,
        )
        for source, words in backbone.weight_sources.items():
            file = "FILE" if source.startswith(".") else ""
            out.print(f"  MYCOFLOW_WEIGHTS={file}{source}: {words}", highlight=False, markup=False, soft_wrap=True)
    out.print("Set MYCOFLOW_BACKBONE to one of them. Without it, a home chooses at its first training.")


@backbone_app.command()
def compare_backbones(
    backbones: Annotated[
        str, typer.Option(metavar="NAME,...", help="Backbones; by default all that have weights here.")
    ] = "",
    sizes: Annotated[
        str,
        typer.Option(metavar="PIXELS,...", help="Image sizes; by default MYCOFLOW_IMAGE_SIZE or each backbone's own."),
    ] = "",
    precisions: Annotated[str, typer.Option(metavar="NAME,...", help="fp32, int8 or both.")] = ",".join(PRECISIONS),
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BACKBONE=WEIGHTS",
            help="Weights of a backbone, as MYCOFLOW_WEIGHTS names them; may be repeated, also for one backbone. "
            "By default those that a training would take.",
        ),
    ] = None,
    snapshot: Annotated[
        int | None, typer.Option(help="Id of a snapshot; by default the images that a retraining would take now.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare backbones on your images: accuracy, time and memory. The home's choice of a backbone stays.

    A head on each network names every human-labelled image that it has not learned from, nor from its group. The
    features are kept, and a retraining reuses them.
    """
    request = ComparisonRequest(
        _split(backbones), _read_sizes(sizes), tuple(_split(precisions)), _read_weights(weights or [])
    )
    with open_workspace() as workspace:
        plan = plan_comparison(workspace, request, snapshot)
        with steps(plan.steps, error_out if as_json else out) as on_step:
            comparison = run_comparison(workspace, plan, on_step)
    if as_json:
        typer.echo(json.dumps(comparison.as_json(), indent=2))
    else:
        _print_comparison(comparison)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in _split(text)]
    except ValueError as error:
        raise SettingsError(f"Expected --sizes as pixels, such as 160,224. Received: {text!r}.") from error


def _read_weights(texts: Sequence[str]) -> dict[str, list[str]]:
    read: dict[str, list[str]] = {}
    for text in texts:
        name, _, source = text.partition("=")
        if not name or not source:
            raise SettingsError(
                f"Expected --weights as BACKBONE=WEIGHTS, such as {FIRST_BACKBONE}=random. Received: {text!r}."
            )
        read.setdefault(name, []).append(source)
    return read


def _print_comparison(comparison: Comparison) -> None:
    out.print(
        f"{comparison.image_count} images of {comparison.images}, in {comparison.group_count} groups. A head that has "
        "not seen an image's group named it.",
        soft_wrap=True,
    )
    table = Table("backbone", "weights", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in _FIGURES:
        table.add_column(name, justify="right", no_wrap=True)
    for row in comparison.rows:
        table.add_row(row.backbone, row.weights, *_figures(row))
    out.print(table)
    for line in _notes(comparison):
        out.print(line, highlight=False, soft_wrap=True)


_FIGURES = ("px", "", "accuracy, 95 %", "F1", "less", "p", "ms", "MB")


def _figures(row: ComparedBackbone) -> list[str]:
    is_best = row.difference == 0 and row.p_value == 1
    return [
        str(row.image_size),
        f"{row.precision}*" if row.refused else row.precision,
        f"{100 * row.accuracy:.1f} ({100 * row.accuracy_low:.1f}-{100 * row.accuracy_high:.1f})",
        f"{100 * row.f1_macro:.1f}",
        "best" if is_best else f"{-100 * row.difference:.1f}",
        "" if is_best else _p_value(row.p_value),
        f"{row.milliseconds:.1f}" if row.milliseconds < 100 else f"{row.milliseconds:.0f}",
        f"{row.memory_mb:.0f}",
    ]


def _p_value(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _notes(comparison: Comparison) -> list[str]:
    """Return what one must know to read the table."""
    refused = [row for row in comparison.rows if row.refused]
    return [
        "accuracy and macro F1 in %; less: points less than the best; p: the probability of such a difference between "
        "equally good networks; ms: one image on all CPUs; MB: a process with this network alone.",
        *(f"* {row.label}: a retraining would serve fp32. {row.refused}" for row in refused),
        f"MLflow run {comparison.mlflow_run_id} has the plot, and a child run for each network.",
    ]
