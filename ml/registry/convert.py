"""Open an image classifier that was trained outside Mycoflow and logged in MLflow, and convert it to ONNX.

It may be a Keras model, an ONNX file or a TensorFlow SavedModel. None of its code is unpickled or run as Python, so a
Keras model with a Lambda layer or with custom objects is refused.
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
    """A model as it was logged.

    Args:
        kind: its format, in words.
        onnx: the same network in ONNX.
        answer: runs it in its own runtime: scaled pixels (n, height, width, 3) to its output (n, classes).
        image_size: side of its square input, pixels; None if any size is possible.
        scales_itself: whether it takes RGB from 0 to 255, and scales them in its first layer.
    """

    kind: str
    onnx: bytes
    answer: Answer
    image_size: int | None
    scales_itself: bool


def open_original(folder: Path, image_size: int | None) -> Original:
    """Open a model that a run logged.

    Args:
        folder: the logged model, with its MLmodel file.
        image_size: side for a network that takes any size, pixels.
    Raises: ModelLoadError, it is not an image classifier in one of the three formats.
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
        content = onnx.load(str(path)).SerializeToString()  # loads external weights only from the file's own folder
    except Exception as error:  # onnx, protobuf and the file system share no narrower base
        raise ModelLoadError(
            f"Expected an ONNX file that loads. Received: {error}. Export and log it again."
        ) from error
    session = open_session(content, "the logged model", usable_cpus())
    model_input = _demand_single(session.get_inputs(), "input")
    output = _demand_single(session.get_outputs(), "output")
    size, is_channels_first = _read_shape(model_input.shape)
    dtype = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(double)": np.float64}.get(model_input.type)
    if dtype is None:
        raise ModelLoadError(
            f"Expected a network that takes float32, float64 or uint8. Received: {model_input.type}. Export it again."
        )

    def answer(pixels: NDArray[Any]) -> Floats:
        images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2) if is_channels_first else pixels, dtype=dtype)
        exported_size = model_input.shape[0]
        batch_size = exported_size if isinstance(exported_size, int) else _BATCH_IMAGES
        batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
        return np.concatenate([np.asarray(session.run([output.name], {model_input.name: b})[0]) for b in batches])

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
    input_name, model_input = _demand_single(list(function.structured_input_signature[1].items()), "input")
    output_name, _ = _demand_single(list(function.structured_outputs.items()), "output")
    size, is_channels_first = _read_shape(model_input.shape.as_list())
    size = _demand_size(size or image_size)
    if is_channels_first:
        raise ModelLoadError("Expected a SavedModel that takes images (height, width, 3). Received: channels first.")

    def run(images: Any) -> Any:
        return function(**{input_name: tensorflow.cast(images, model_input.dtype)})[output_name]

    def answer(pixels: NDArray[Any]) -> Floats:
        starts = range(0, len(pixels), _BATCH_IMAGES)
        return np.concatenate([run(pixels[start : start + _BATCH_IMAGES]).numpy() for start in starts])

    return Original("a SavedModel", _export(run, size), answer, size, model_input.dtype == tensorflow.uint8)


def _export(network: Callable[[Any], Any], size: int) -> bytes:
    """Write a TensorFlow network as ONNX. Its input is float32 (n, size, size, 3)."""
    tensorflow = load_tensorflow()
    import tf2onnx  # type: ignore[import-untyped]  # noqa: PLC0415

    signature = [tensorflow.TensorSpec((None, size, size, INPUT_CHANNELS), tensorflow.float32, name="input_images")]
    try:
        proto, _ = tf2onnx.convert.from_function(tensorflow.function(network), signature, opset=_OPSET)
    except Exception as error:  # the errors of tf2onnx share no narrower base
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
    """Return the side of the square input, None if any is possible, and whether the channels come first."""
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
            "Expected the side of the images in pixels, because this network takes any size. Received none. "
            "Give --image-size."
        )
    return size


def _demand_single(found: Any, what: str) -> Any:
    if len(found) != 1:
        raise ModelLoadError(
            f"Expected a network with one {what}. Received {len(found)}. Export the classifier alone, and log it."
        )
    return found[0]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
