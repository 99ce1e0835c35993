"""Log a bundle as an MLflow pyfunc model."""

import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ml.backbones.onnx_runtime import output_shapes
from ml.backbones.preprocessing import INPUT_CHANNELS
from ml.registry.mlflow_client import point_mlflow_at
from ml.tasks.card import ModelCard

SCRIPT = Path(__file__).with_name("served_model.py")
REQUIRED_PACKAGES = ("mlflow", "numpy", "onnxruntime")


def log_bundle(tracking_uri: str, mlflow_run_id: str, bundle: Path, card: ModelCard) -> None:
    """Log a bundle with its code, signature, input example and pinned requirements as the model of a run.

    Args:
        tracking_uri: of MLflow. It becomes the default of the process, because only MLflow's fluent API can log models.
        mlflow_run_id: an open run.
        bundle: the folder that `write_bundle` filled.
        card: model card of that bundle.
    """
    import mlflow  # noqa: PLC0415
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import Schema, TensorSpec  # noqa: PLC0415

    size, float32 = card.image_size, np.dtype(np.float32)
    outputs = output_shapes(bundle / "model.onnx")
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, size, size, INPUT_CHANNELS))]),
        outputs=Schema([TensorSpec(float32, (-1, *shape), name) for name, shape in outputs.items()]),
    )
    point_mlflow_at(tracking_uri)
    with warnings.catch_warnings(), mlflow.start_run(run_id=mlflow_run_id):
        warnings.simplefilter("ignore", UserWarning)  # MLflow warns about its own type hints
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SCRIPT),
            artifacts={file.name: str(file) for file in sorted(bundle.iterdir())},
            signature=signature,
            input_example=np.full((1, size, size, INPUT_CHANNELS), 127, np.uint8),
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIRED_PACKAGES],
            metadata={
                "task": card.task,
                "classes": list(card.classes),
                "backbone": card.backbone,
                "backbone_id": card.backbone_id,
            },
        )
