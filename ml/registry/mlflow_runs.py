"""An MLflow run, in which a training or a scoring records its parameters, figures and files."""

import json
import logging
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.registry.file_hashes import FILES_SHA256_TAG, write_hashes
from ml.registry.mlflow_client import translated_errors
from ml.tasks.card import load_card

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

TRAINING_EXPERIMENT = "mycoflow-training"
MONITORING_EXPERIMENT = "mycoflow-monitoring"
TUNING_EXPERIMENT = "mycoflow-tuning"
CONVERSION_EXPERIMENT = "mycoflow-converted"
COMPARISON_EXPERIMENT = "mycoflow-comparison"
EXPERIMENTS = (
    TRAINING_EXPERIMENT,
    MONITORING_EXPERIMENT,
    TUNING_EXPERIMENT,
    CONVERSION_EXPERIMENT,
    COMPARISON_EXPERIMENT,
)
PARENT_TAG = "mlflow.parentRunId"  # MLflow shows a run with it under its parent
_DIGEST_LENGTH = 36  # the length of MLflow's column


@dataclass(frozen=True)
class DatasetSummary:
    """The facts about a dataset that MLflow gets. It never gets pixels.

    Args:
        name: `snapshot-<id>`.
        digest: hash of its content; MLflow stores the first 36 characters.
        profile: figures about it, such as the number of images per class and fold.
    """

    name: str
    digest: str
    profile: Mapping[str, object]


class Run:
    """An open MLflow run. Registry.start_run and Registry.run open and close it."""

    def __init__(self, client: "MlflowClient", tracking_uri: str, mlflow_run_id: str) -> None:
        self._client = client
        self._tracking_uri = tracking_uri
        self.mlflow_run_id = mlflow_run_id

    def log_parameters(self, parameters: Mapping[str, object]) -> None:
        """Record parameters. A parameter cannot be changed later."""
        from mlflow.entities import Param  # noqa: PLC0415

        entities = [Param(name, str(value)) for name, value in parameters.items()]
        with translated_errors(self._tracking_uri):
            self._client.log_batch(self.mlflow_run_id, params=entities)

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record figures that have one value per run."""
        self._log_curves({name: [value] for name, value in metrics.items()})

    def log_history(self, history: Mapping[str, Sequence[float]]) -> None:
        """Record curves: for each figure one value per epoch, from epoch 0."""
        self._log_curves(history)

    def log_dataset(self, summary: DatasetSummary, context: str) -> None:
        """Record the dataset that a run used.

        Args: context, `training` or `evaluation`.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415

        dataset = Dataset(
            name=summary.name,
            digest=summary.digest[:_DIGEST_LENGTH],
            source_type="mycoflow",
            source=json.dumps({"snapshot": summary.name}),
            profile=json.dumps(summary.profile),
        )
        dataset_input = DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
        with translated_errors(self._tracking_uri):
            self._client.log_inputs(self.mlflow_run_id, [dataset_input])

    def log_report(self, name: str, report: Mapping[str, Any]) -> None:
        """Store a structured report as a JSON file of the run."""
        with translated_errors(self._tracking_uri):
            self._client.log_dict(self.mlflow_run_id, dict(report), name)

    def log_picture(self, path: Path) -> None:
        """Store a picture in the run's folder `plots`."""
        with translated_errors(self._tracking_uri):
            self._client.log_artifact(self.mlflow_run_id, str(path), "plots")

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags of the run."""
        with translated_errors(self._tracking_uri):
            for name, value in tags.items():
                self._client.set_tag(self.mlflow_run_id, name, value)

    def log_model(self, bundle: Path) -> None:
        """Log a bundle as the run's model: an MLflow pyfunc that any MLflow client loads and serves.

        Add the hashes of its files, and tag the run with the hash of their list.

        Args: bundle, the folder that `write_bundle` filled.
        """
        from ml.registry.pyfunc import log_bundle  # noqa: PLC0415

        self.tag({FILES_SHA256_TAG: write_hashes(bundle)})  # first: MLflow marks a run with a model as finished
        with translated_errors(self._tracking_uri):
            log_bundle(self._tracking_uri, self.mlflow_run_id, bundle, load_card(bundle))

    def _log_curves(self, curves: Mapping[str, Sequence[float]]) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415

        now_ms = int(time.time() * 1000)
        points = [
            Metric(name, float(value), now_ms, step)
            for name, values in curves.items()
            for step, value in enumerate(values)
        ]
        with translated_errors(self._tracking_uri):
            for start in range(0, len(points), 1000):  # MLflow's limit for one batch
                self._client.log_batch(self.mlflow_run_id, metrics=points[start : start + 1000])


def open_run(
    client: "MlflowClient",
    tracking_uri: str,
    experiment: str,
    artifact_root: str | None,
    name: str,
    tags: Mapping[str, str],
) -> Run:
    """Create a run, and its experiment if that does not exist. Restore an experiment that was deleted in MLflow.

    Args:
        client, tracking_uri: the connection.
        experiment: name of the experiment.
        artifact_root: the experiment stores its files in a folder of its name under it; if None, the server decides.
        name, tags: of the run.
    """
    experiment_id = _experiment_id(client, experiment, artifact_root)
    run = client.create_run(experiment_id, run_name=name, tags={**_source_tags(), **tags})
    return Run(client, tracking_uri, run.info.run_id)


def _experiment_id(client: "MlflowClient", name: str, artifact_root: str | None) -> str:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    location = None if artifact_root is None else f"{artifact_root.rstrip('/')}/{name}"
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
        found = client.get_experiment_by_name(name)
    elif found.lifecycle_stage == "deleted":  # no other experiment can have its name
        client.restore_experiment(found.experiment_id)
        logger.warning("The experiment %s was deleted in MLflow. It is restored, because this run belongs in it.", name)
    return str(found.experiment_id)  # type: ignore[union-attr]


def _source_tags() -> dict[str, str]:
    """Return the tags with which MLflow shows the source of a run's code."""
    tags = {"mlflow.source.name": "mycoflow", "mlflow.source.type": "PROJECT"}
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return tags  # installed from a package, or nothing committed yet
    return {**tags, "mlflow.source.git.commit": commit.stdout.strip()}
