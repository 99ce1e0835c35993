"""Log a comparison of backbones to MLflow: a parent run with the whole, and a child run for each network."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml.app import Workspace
from ml.confidence.cross_fitting import FOLDS
from ml.registry.mlflow_runs import COMPARISON_EXPERIMENT, PARENT_TAG, DatasetSummary, Run
from ml.training.comparison.compared_backbones import ComparedBackbone, Comparison
from ml.training.comparison.compared_images import ComparedImages
from ml.training.comparison.comparison_plots import save_accuracy_against_time


@dataclass(frozen=True)
class ComparisonLog:
    """The open parent run of a comparison."""

    workspace: Workspace
    run: Run

    @property
    def mlflow_run_id(self) -> str:
        """Return the id of the parent run."""
        return self.run.mlflow_run_id

    def finish(self, comparison: Comparison) -> None:
        """Log the result: a child run for each network, the table and the plot."""
        for row in comparison.rows:
            self._log_child(row)
        self.run.log_metrics({"images": comparison.image_count, "groups": comparison.group_count})
        self.run.log_report("comparison.json", comparison.as_json())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "accuracy_against_time.png"
            save_accuracy_against_time(comparison.rows, path)
            self.run.log_picture(path)

    def _log_child(self, row: ComparedBackbone) -> None:
        tags = {
            PARENT_TAG: self.mlflow_run_id,
            "backbone": row.backbone,
            "backbone_weights": row.weights_recipe,
            "backbone_id": row.backbone_id,
            "precision": row.precision,
            **({"refused": row.refused} if row.refused else {}),
        }
        with self.workspace.registry.run(COMPARISON_EXPERIMENT, row.label, tags) as run:
            run.log_parameters(
                {name: getattr(row, name) for name in ("backbone", "weights", "image_size", "precision")}
            )
            run.log_metrics({name: getattr(row, name) for name in _METRICS})


_METRICS = (
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "f1_macro",
    "difference",
    "p_value",
    "milliseconds",
    "memory_mb",
    "feature_count",
)


@contextmanager
def log_comparison(workspace: Workspace, images: ComparedImages, network_count: int) -> Iterator[ComparisonLog]:
    """Open the parent run. It ends as finished, or as failed if the block raises an error."""
    tags = {"task": workspace.task.name, "images": images.name}
    with workspace.registry.run(COMPARISON_EXPERIMENT, f"{network_count} networks on {images.name}", tags) as run:
        settings = workspace.settings
        run.log_parameters(
            {
                "folds": FOLDS,
                "mirrored_views": settings.mirrored_views,
                "rotated_views": settings.rotated_views,
                "zoomed_views": settings.zoomed_views,
                "int8_minimum_agreement": settings.int8_minimum_agreement,
            }
        )
        profile = {"images": len(images.labels), **dict(sorted(Counter(images.labels.tolist()).items()))}
        run.log_dataset(DatasetSummary(images.name.replace(" ", "-"), images.digest, profile), "evaluation")
        yield ComparisonLog(workspace, run)
