"""The result of a comparison of backbones."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ComparedBackbone:
    """One network of a comparison: a backbone with its weights, at an image size and a precision.

    Args:
        weights: name of the weights for people; weights_recipe is exact.
        accuracy: share of the images that a head names rightly which has not seen their group; and its 95 % interval.
        f1_macro: mean of the classes' F1.
        difference: accuracy minus that of the best network, on the same images, 0 or less.
        p_value: probability of such a difference between equally good networks, corrected for their number.
        milliseconds: time for one image on all CPUs.
        memory_mb: resident memory of a process that runs only this network.
        refused: why a retraining would serve fp32 in its place; empty if it would not.
    """

    backbone: str
    weights: str
    weights_recipe: str
    image_size: int
    precision: str
    backbone_id: str
    feature_count: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    f1_macro: float
    difference: float
    p_value: float
    milliseconds: float
    memory_mb: float
    refused: str

    @property
    def label(self) -> str:
        """Return a name for people."""
        return f"{self.backbone}, {self.weights}, {self.image_size} px, {self.precision}"


@dataclass(frozen=True)
class Comparison:
    """A comparison of backbones.

    Args:
        images: what was compared on, for people.
        image_count, group_count: numbers of images, and of groups that no fold divided.
        rows: in the order in which they were asked for.
        mlflow_run_id: of the parent run.
    """

    images: str
    image_count: int
    group_count: int
    rows: Sequence[ComparedBackbone]
    mlflow_run_id: str

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return asdict(self)
