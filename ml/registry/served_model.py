"""The script that MLflow keeps inside each model version and runs to serve it ("models from code").

It needs only ONNX Runtime, NumPy and MLflow, and nothing of Mycoflow. No module imports it.
"""

import hashlib
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Answers uint8 RGB images (n, size, size, 3) with `probabilities` (n, classes) and `features` (n, length)."""

    _skip_type_hint_validation = True  # the signature has the types; MLflow would warn at each load

    def load_context(self, context):  # type: ignore[no-untyped-def]
        """Check the network's file against the list of hashes, and open it once per process."""
        path = Path(context.artifacts["model.onnx"])
        line = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  model.onnx"
        if line not in Path(context.artifacts["SHA256SUMS"]).read_text(encoding="utf-8").splitlines():
            raise ValueError(f"Expected {path} to have its hash in SHA256SUMS. It was changed. Restore it, or retrain.")
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [output.name for output in self.session.get_outputs()]
        self.names = [name for name in names if name != "activations"]  # as in the signature: they are no answer

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Run the network, which contains the preprocessing of pixels."""
        images = np.ascontiguousarray(model_input, dtype=np.uint8)
        return dict(zip(self.names, self.session.run(self.names, {"images": images}), strict=True))


mlflow.models.set_model(ServedModel())
