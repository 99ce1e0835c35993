"""Save a copy of the model in production in MLflow's Keras flavour, as a user without Mycoflow would log it."""

import tempfile
from pathlib import Path

import numpy as np

from ml.backbones.keras_backend import load_keras


def save_keras_copy(tracking_uri: str, model_uri: str, folder: Path) -> None:
    """Save a version's model.keras with MLflow's Keras flavour.

    Args:
        tracking_uri: MLflow's address.
        model_uri: such as models:/mycoflow@production.
        folder: a new folder for the MLflow model.
    """
    import mlflow  # noqa: PLC0415 - takes seconds, in a separate process

    keras = load_keras()
    mlflow.set_tracking_uri(tracking_uri)
    with tempfile.TemporaryDirectory() as temporary:
        version = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=temporary))
        model = keras.models.load_model(version / "artifacts" / "model.keras")
    example = np.zeros((1, *model.input_shape[1:]), np.uint8)
    signature = mlflow.models.infer_signature(example, model.predict(example, verbose=0))
    mlflow.keras.save_model(model, str(folder), signature=signature)
