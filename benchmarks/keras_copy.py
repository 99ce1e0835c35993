"""The Keras-flavour copy of the model in production, as somebody without Mycoflow would have logged it."""

import tempfile
from pathlib import Path

import numpy as np

from ml.backbones.keras_backend import load_keras


def save_keras_copy(tracking_uri: str, model_uri: str, folder: Path) -> None:
    """Take model.keras out of a version and save it with MLflow's Keras flavour.

    Args:
        tracking_uri: MLflow.
        model_uri: such as models:/mycoflow@production.
        folder: new; the MLflow model to serve.
    """
    import mlflow  # noqa: PLC0415 - seconds, in a process of its own

    keras = load_keras()
    mlflow.set_tracking_uri(tracking_uri)
    with tempfile.TemporaryDirectory() as temporary:
        version = Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=temporary))
        model = keras.models.load_model(version / "artifacts" / "model.keras")
    example = np.zeros((1, *model.input_shape[1:]), np.uint8)
    signature = mlflow.models.infer_signature(example, model.predict(example, verbose=0))
    mlflow.keras.save_model(model, str(folder), signature=signature)
