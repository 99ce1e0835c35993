"""Register a model that somebody trained elsewhere: any MLflow run that logged one with our files."""

import tempfile
from pathlib import Path

from ml.app import Workspace
from ml.catalog.models.attempts import StoredVerdict
from ml.evaluation.judging import judge_challenger, tell_verdict
from ml.evaluation.scoring import score_version
from ml.progress import Progress
from ml.tasks.registered import load_model


def register_run(workspace: Workspace, mlflow_run_id: str, on_progress: Progress | None = None) -> StoredVerdict:
    """Make a version of a run's model, score it and let the gate judge it. A person promotes it, or nobody.

    Again for the same run: the same version, scored and judged on how things are now. Whether it learned from images of
    the evaluation set, nobody here can tell.

    Args: on_progress, called with (images computed, images to compute).
    Raises:
        UnknownVersionError: there is no such run, or it logged no model.
        ModelLoadError: the model is none of ours, or does not load and answer; nothing is registered then.
    """
    with tempfile.TemporaryDirectory() as folder:
        load_model(workspace.task, workspace.registry.download_logged(mlflow_run_id, Path(folder)))
    version = workspace.registry.register(mlflow_run_id, {"verdict": "pending"})
    score_version(workspace, version, None, on_progress)
    verdict = judge_challenger(workspace, version)
    tell_verdict(workspace, verdict)
    return verdict
