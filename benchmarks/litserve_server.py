"""A LitServe server for a model version's ONNX file, written as in LitServe's documentation: decode, predict, encode.

    python -m benchmarks.litserve_server BUNDLE PORT

It takes the same upload as the prediction service and returns the same classes, without accounts and without storing.

Source: lightning.ai/docs/litserve, LitAPI and LitServer.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from fastapi import Request
from litserve import LitAPI, LitServer
from numpy.typing import NDArray

from ml.backbones.preprocessing import to_pixels
from ml.tasks.card import load_card
from stack.ports import HOST


class OnnxApi(LitAPI):  # type: ignore[misc]
    """The four verbs of a LitServe server.

    Args: bundle, the folder with model.onnx and model.json.
    """

    def __init__(self, bundle: Path) -> None:
        super().__init__()
        self._bundle = bundle

    def setup(self, device: str) -> None:
        """Load the model, in the worker."""
        self._card = load_card(self._bundle)
        self._session = onnxruntime.InferenceSession(str(self._bundle / "model.onnx"))

    def decode_request(self, request: Request) -> NDArray[np.uint8]:
        """Decode the uploaded file to pixels (size, size, 3). The type Request makes LitServe pass the form."""
        return to_pixels(request["file"].file.read(), self._card.image_size)

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities (classes,) of one image."""
        probabilities: NDArray[np.float32] = self._session.run(["probabilities"], {"images": pixels[np.newaxis]})[0][0]
        return probabilities

    def encode_response(self, probabilities: NDArray[np.float32]) -> dict[str, object]:
        """Return the best class with its probability in percent."""
        best = int(probabilities.argmax())
        return {"results": [{"name": self._card.classes[best], "proba": round(100 * float(probabilities[best]), 2)}]}


if __name__ == "__main__":
    server = LitServer(OnnxApi(Path(sys.argv[1])), accelerator="cpu")
    server.run(host=HOST, port=int(sys.argv[2]), generate_client_file=False)
