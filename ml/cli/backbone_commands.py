"""`mycoflow backbones`: list the networks that can compute features."""

import typer

from ml.app import open_workspace
from ml.backbones.backbone_costs import measure_cost
from ml.backbones.registered import REGISTERED, find_backbone
from ml.cli.terminal import out
from ml.training.chosen_backbone import kept_backbone

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
