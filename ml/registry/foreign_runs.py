"""MLflow runs of models that were made outside Mycoflow: their files, classes and conversions."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ml.catalog.class_names import read_class_name
from ml.errors import LabelError, ModelLoadError
from ml.registry import artifacts
from ml.registry.mlflow_runs import CONVERSION_EXPERIMENT
from ml.tasks.card import FILE_NAME as CARD_NAME

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONVERTED_FROM_TAG = "converted_from_run"
CONVERSION_TAG = "mycoflow.conversion"
CLASSES_TAG = "classes"
MAXIMUM_BYTES = 2**31 - 1  # of an ONNX file
CLASSES_FILES = ("classes.txt", "labels.txt")


def holds_bundle(model_uri: str, tracking_uri: str) -> bool:
    """Whether a logged model is a bundle that Mycoflow wrote."""
    from mlflow.artifacts import list_artifacts  # noqa: PLC0415

    listed = list_artifacts(artifact_uri=f"{model_uri}/artifacts", tracking_uri=tracking_uri)
    return CARD_NAME in {Path(file.path).name for file in listed}


def download_model(model_uri: str, tracking_uri: str, folder: Path) -> Path:
    """Download all files of a logged model.

    Raises: ModelLoadError, they are larger than an ONNX file may be.
    """
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415

    size = artifacts.byte_count(model_uri, tracking_uri)
    if size > MAXIMUM_BYTES:
        raise ModelLoadError(
            f"Expected a model of at most {MAXIMUM_BYTES / 2**30:.0f} GB. Received: {size / 2**30:.1f} GB. "
            "Log a smaller network."
        )
    return Path(download_artifacts(artifact_uri=model_uri, dst_path=str(folder), tracking_uri=tracking_uri))


def read_classes(client: "MlflowClient", mlflow_run_id: str) -> tuple[str, ...] | None:
    """Read the names of a run's classes, in the order of its outputs: from its tag, or a text file; None without both.

    Raises: ModelLoadError, the tag is not a JSON list of names.
    """
    tag = client.get_run(mlflow_run_id).data.tags.get(CLASSES_TAG)
    if tag is not None:
        try:
            names = json.loads(tag)
        except ValueError:
            names = None
        if not isinstance(names, list):
            raise ModelLoadError(
                f"Expected a JSON list of names in the tag `{CLASSES_TAG}` of run {mlflow_run_id}. Received: {tag!r}. "
                "Correct the tag, or give --classes."
            )
        return tuple(map(str, names))
    for file in client.list_artifacts(mlflow_run_id):
        if file.path in CLASSES_FILES:
            with tempfile.TemporaryDirectory() as folder:
                return parse_classes(Path(client.download_artifacts(mlflow_run_id, file.path, folder)))
    return None


def parse_classes(file: Path) -> tuple[str, ...]:
    """Read class names from a text file with one name per line.

    Raises: ModelLoadError, it is not a text file in UTF-8.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelLoadError(
            f"Expected a text file in UTF-8 with one class name per line. {file.name} cannot be read ({error})."
        ) from error
    return tuple(line.strip() for line in lines if line.strip())


def check_classes(stated: Sequence[str], count: int) -> tuple[str, ...]:
    """Check that each output has one valid name of its own.

    Returns: the names in Unicode's composed form.
    Raises: ModelLoadError.
    """
    try:
        classes = tuple(map(read_class_name, stated))
    except LabelError as error:
        raise ModelLoadError(f"{error} Correct the list of class names, or give --classes.") from error
    if len(classes) != count or len(set(classes)) < len(classes) or count < 2:
        shown = ", ".join(map(repr, classes[:10])) + (" ..." if len(classes) > 10 else "")
        raise ModelLoadError(
            f"Expected {count} distinct class names, at least two, one for each output of the network. "
            f"Received {len(classes)}: {shown}. Give --classes."
        )
    return classes


def find_conversion(client: "MlflowClient", mlflow_run_id: str, conversion: str) -> str | None:
    """Return the MLflow id of the finished run that holds this conversion of another run; None if there is none.

    Args: conversion, the hash of how the model was converted.
    """
    experiment = client.get_experiment_by_name(CONVERSION_EXPERIMENT)
    if experiment is None:
        return None
    query = (
        f"tags.`{CONVERTED_FROM_TAG}` = '{mlflow_run_id}' and tags.`{CONVERSION_TAG}` = '{conversion}' "
        "and attributes.status = 'FINISHED'"
    )
    found = client.search_runs([experiment.experiment_id], query)
    return str(found[0].info.run_id) if found else None
