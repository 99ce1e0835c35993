"""Open an image classifier that somebody else trained and logged in MLflow, whatever its flavour, as ONNX.

Three kinds are read: a Keras model, an ONNX file, TensorFlow's SavedModel. Nothing of them is unpickled or run as
Python: a Keras model with a Lambda layer, or with custom objects, is refused.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ml.backbones.cpus import usable_cpus
from ml.backbones.keras_backend import load_keras, load_tensorflow
from ml.backbones.onnx_runtime import Floats, open_session
from ml.backbones.preprocessing import INPUT_CHANNELS
from ml.errors import ModelLoadError

_BATCH_IMAGES = 32
_OPSET = 17
_SCALING_LAYERS = ("Rescaling", "Normalization")

Answer = Callable[[NDArray[Any]], Floats]


@dataclass(frozen=True)
class Original:
    """A model as somebody logged it.

    Args:
        kind: what it was logged as, in words.
        onnx: the same network in ONNX.
        answer: its own runtime: pixels (n, height, width, 3), scaled as it wants them, to its output (n, classes).
        image_size: side of its square input, pixels; None where it takes any.
        scales_itself: it takes RGB from 0 to 255 and scales them in its first layer.
    """

    kind: str
    onnx: bytes
    answer: Answer
    image_size: int | None
    scales_itself: bool


def open_original(folder: Path, image_size: int | None) -> Original:
    """Open what a run logged.

    Args:
        folder: the logged model, with its MLmodel file.
        image_size: side to give to a network that takes any, pixels.
    Raises: ModelLoadError, it is no image classifier of a kind that can be read.
    """
    flavors = _read_flavors(folder)
    if "onnx" in flavors:
        return _open_onnx(_inside(folder, flavors["onnx"].get("data", "model.onnx")), image_size)
    if {"keras", "tensorflow"} & flavors.keys():
        for file in sorted(folder.rglob("*.keras")) + sorted(folder.rglob("*.h5")):
            return _open_keras(file, image_size)
        for file in sorted(folder.rglob("saved_model.pb")):
            return _open_saved_model(file.parent, image_size)
    raise ModelLoadError(
        "Expected a model that was logged with mlflow.keras, mlflow.tensorflow or mlflow.onnx. "
        f"Received the flavours {', '.join(sorted(flavors)) or 'none'}. Export the model to ONNX and log it with "
        "mlflow.onnx.log_model."
    )


def _read_flavors(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        content = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        return {str(name): dict(options or {}) for name, options in content["flavors"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise ModelLoadError(
            f"Expected a logged model with an MLmodel file that names its flavours. Received: {error!r}. Log it again."
        ) from error


def _inside(folder: Path, name: object) -> Path:
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ModelLoadError(f"Expected a file inside the logged model. Received: {name!r}. Log the model again.")
    return path


def _open_onnx(path: Path, image_size: int | None) -> Original:
    import onnx  # noqa: PLC0415

    try:
        content = onnx.load(str(path)).SerializeToString()  # follows no path out of the file's folder to its weights
    except Exception as error:  # onnx, protobuf and the file system share no narrower base
        raise ModelLoadError(
            f"Expected an ONNX file that loads. Received: {error}. Export and log it again."
        ) from error
    session = open_session(content, "the logged model", usable_cpus())
    taken = _only(session.get_inputs(), "input")
    given = _only(session.get_outputs(), "output")
    size, is_channels_first = _read_shape(taken.shape)
    dtype = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(double)": np.float64}.get(taken.type)
    if dtype is None:
        raise ModelLoadError(
            f"Expected a network that takes float32, float64 or uint8. Received: {taken.type}. Export it again."
        )

    def answer(pixels: NDArray[Any]) -> Floats:
        laid_out = pixels.transpose(0, 3, 1, 2) if is_channels_first else pixels
        fed = np.ascontiguousarray(laid_out, dtype=dtype)
        if isinstance(taken.shape[0], int):  # exported for a fixed number of images
            parts = [fed[start : start + taken.shape[0]] for start in range(0, len(fed), taken.shape[0])]
        else:
            parts = [fed[start : start + _BATCH_IMAGES] for start in range(0, len(fed), _BATCH_IMAGES)]
        return np.concatenate([np.asarray(session.run([given.name], {taken.name: part})[0]) for part in parts])

    return Original("an ONNX file", content, answer, size or image_size, dtype is np.uint8)


def _open_keras(path: Path, image_size: int | None) -> Original:
    keras = load_keras()
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras' errors share no narrower base
        raise ModelLoadError(
            "Expected a Keras model of Keras' own layers, without Lambda layers and custom objects. It does not load: "
            f"{_first_line(error)}. Save it without them, or export it to ONNX and log it with mlflow.onnx.log_model."
        ) from error
    size, is_channels_first = _read_shape(_single_shape(model.input_shape))
    size = _demand_size(size or image_size)
    if is_channels_first:
        raise ModelLoadError("Expected a Keras model that takes images (height, width, 3). Received: channels first.")
    layers = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    scales_itself = bool(layers) and type(layers[0]).__name__ in _SCALING_LAYERS

    def answer(pixels: NDArray[Any]) -> Floats:
        return np.asarray(model.predict(pixels, batch_size=_BATCH_IMAGES, verbose=0))

    return Original(
        "a Keras model", _export(lambda images: model(images, training=False), size), answer, size, scales_itself
    )


def _open_saved_model(folder: Path, image_size: int | None) -> Original:
    tensorflow = load_tensorflow()
    try:
        loaded = tensorflow.saved_model.load(str(folder))
        function = loaded.signatures.get("serving_default") or next(iter(loaded.signatures.values()))
    except Exception as error:  # TensorFlow's errors share no narrower base
        raise ModelLoadError(
            f"Expected a SavedModel with a signature. Received: {_first_line(error)}. Export it again."
        ) from error
    name, taken = _only(list(function.structured_input_signature[1].items()), "input")
    given, _ = _only(list(function.structured_outputs.items()), "output")
    size, is_channels_first = _read_shape(taken.shape.as_list())
    size = _demand_size(size or image_size)
    if is_channels_first:
        raise ModelLoadError("Expected a SavedModel that takes images (height, width, 3). Received: channels first.")

    def run(images: Any) -> Any:
        return function(**{name: tensorflow.cast(images, taken.dtype)})[given]

    def answer(pixels: NDArray[Any]) -> Floats:
        starts = range(0, len(pixels), _BATCH_IMAGES)
        return np.concatenate([run(pixels[start : start + _BATCH_IMAGES]).numpy() for start in starts])

    return Original("a SavedModel", _export(run, size), answer, size, taken.dtype == tensorflow.uint8)


def _export(network: Callable[[Any], Any], size: int) -> bytes:
    """Write a network that TensorFlow runs as ONNX: float32 (n, size, size, 3) in."""
    tensorflow = load_tensorflow()
    import tf2onnx  # type: ignore[import-untyped]  # noqa: PLC0415

    signature = [tensorflow.TensorSpec((None, size, size, INPUT_CHANNELS), tensorflow.float32, name="input_images")]
    try:
        proto, _ = tf2onnx.convert.from_function(tensorflow.function(network), signature, opset=_OPSET)
    except Exception as error:  # nor do those of tf2onnx
        raise ModelLoadError(
            f"Expected a network that tf2onnx can write as ONNX for {size} pixels. Received: {_first_line(error)}. "
            "Export it to ONNX yourself, and log it with mlflow.onnx.log_model."
        ) from error
    content: bytes = proto.SerializeToString()
    return content


def _single_shape(shape: Any) -> Any:
    if isinstance(shape, list | dict):
        raise ModelLoadError(f"Expected a model with one input, an image. Received inputs of the shapes {shape}.")
    return shape


def _read_shape(shape: Any) -> tuple[int | None, bool]:
    """Side of the square input where it is fixed, and whether the channels come first."""
    dimensions = list(shape or [])
    for first, sides in ((False, dimensions[1:3]), (True, dimensions[2:4])):
        channels = dimensions[1 if first else 3] if len(dimensions) == 4 else None
        if channels == INPUT_CHANNELS:
            fixed = {side for side in sides if isinstance(side, int)}
            if len(fixed) < 2:
                return (fixed.pop() if fixed else None), first
    raise ModelLoadError(
        "Expected a network that takes square RGB images, (n, size, size, 3) or (n, 3, size, size). "
        f"Received an input of the shape {dimensions}."
    )


def _demand_size(size: int | None) -> int:
    if size is None:
        raise ModelLoadError(
            "Expected the side of the images in pixels: this network takes any. Received none. Give --image-size."
        )
    return size


def _only(found: Any, what: str) -> Any:
    if len(found) != 1:
        raise ModelLoadError(
            f"Expected a network with one {what}. Received {len(found)}. Export the classifier alone, and log it."
        )
    return found[0]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
