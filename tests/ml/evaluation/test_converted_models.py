"""Models that others trained, in the forms in which people log them, up to an answer of our own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import cycle
from ml.app import Workspace, load_version
from ml.backbones.features import read_pixels
from ml.backbones.keras_backend import load_keras, load_tensorflow
from ml.backbones.scales import SCALES
from ml.data.evaluation_sets import current_evaluation_set
from ml.errors import ModelLoadError
from ml.evaluation.promotion import promote_by_hand
from ml.evaluation.registering import ModelDescription, register_run
from ml.registry.mlflow_client import point_mlflow_at
from ml.reporting.inventory import list_models
from ml.tasks.task import CONVERTED

SIZE = 32
CLASSES = ("0", "1", "2")
STATED = ModelDescription(classes=CLASSES, scale="0-1")

LogModel = Callable[[Callable[[Any], None]], str]


@pytest.fixture
def log(trained: Workspace) -> Iterator[LogModel]:
    """Log a model as a data scientist does: with MLflow alone, in an experiment of their own."""
    import mlflow

    def log_model(logs: Callable[[Any], None]) -> str:
        point_mlflow_at(trained.registry._tracking_uri)
        root = (trained.settings.mycoflow_home / "theirs").as_uri()
        experiment = mlflow.get_experiment_by_name("theirs")
        experiment_id = experiment.experiment_id if experiment else mlflow.create_experiment("theirs", root)
        with mlflow.start_run(experiment_id=experiment_id) as run:
            logs(mlflow)
        return str(run.info.run_id)

    yield log_model


def pictures(workspace: Workspace) -> tuple[np.ndarray, np.ndarray]:
    with workspace.catalog.begin() as connection:
        _, members = current_evaluation_set(connection)
    pixels = read_pixels(workspace.catalog, [each.demand_image() for each in members], SIZE)
    return pixels, np.array([CLASSES.index(each.annotation.label) for each in members])


def fit_network(workspace: Workspace, scaled_inside: bool = False, softmax: bool = True, dense: bool = True) -> Any:
    """Fit a convolution and a head to the images that the test asks about: how good it is, is not the question."""
    keras = load_keras()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network = keras.Sequential([keras.Input((SIZE, SIZE, 3))])
    if scaled_inside:
        network.add(layers.Rescaling(1 / 255))
    network.add(layers.Conv2D(8, 3, strides=2, activation="relu"))
    network.add(layers.Dropout(0.1))
    if dense:
        network.add(layers.Flatten())
        network.add(layers.Dense(3, activation="softmax" if softmax else None))
    else:
        network.add(layers.Conv2D(3, 15))
        network.add(layers.Flatten())
        network.add(layers.Softmax())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
    network.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
    pixels, labels = pictures(workspace)
    network.fit(pixels if scaled_inside else pixels / np.float32(255), labels, epochs=8, verbose=0)
    return network


def to_onnx(network: Any, is_channels_first: bool = False) -> Any:
    """The network in ONNX, as PyTorch would export it: float32, channels first where asked."""
    import tf2onnx

    tensorflow = load_tensorflow()
    shape = (None, 3, SIZE, SIZE) if is_channels_first else (None, SIZE, SIZE, 3)

    def run(images: Any) -> Any:
        return network(tensorflow.transpose(images, (0, 2, 3, 1)) if is_channels_first else images, training=False)

    signature = [tensorflow.TensorSpec(shape, tensorflow.float32, name="x")]
    return tf2onnx.convert.from_function(tensorflow.function(run), signature, opset=15)[0]


def assert_serves(workspace: Workspace, version: int, expected: np.ndarray) -> None:
    """The version answers as the original did, is scored, and goes into production."""
    pixels, _ = pictures(workspace)
    classifier = load_version(workspace, version)
    output = classifier.predict(pixels)
    np.testing.assert_allclose(output.probabilities, expected, atol=1e-3)
    np.testing.assert_allclose(classifier.classify(output.features), output.probabilities, atol=1e-4)
    promote_by_hand(workspace, version, actor="tester", reason="test")
    assert cycle.monitor(workspace).model_version == version


def test_a_keras_model_is_converted_judged_promoted_and_served(trained: Workspace, log: LogModel) -> None:
    network = fit_network(trained, scaled_inside=True)
    run_id = log(
        lambda mlflow: (
            mlflow.keras.log_model(network, name="model", pip_requirements=[]),
            mlflow.set_tag("classes", json.dumps(CLASSES)),
        )
    )
    registration = register_run(trained, run_id)
    assert registration.verdict.model_version == 2
    assert registration.verdict.decision in ("promote", "keep")
    assert registration.notes[0] == "Converted from a Keras model that takes 32 pixels, scaled as 0-255."
    assert "1800 inputs" in registration.notes[1]
    pixels, labels = pictures(trained)
    expected = network.predict(pixels, verbose=0)
    assert registration.verdict.challenger_figure == pytest.approx((expected.argmax(axis=1) == labels).mean())
    assert register_run(trained, run_id).verdict == registration.verdict  # again: the same version
    assert_serves(trained, 2, expected)
    listed = next(each for each in trained.registry.versions() if each.version == 2)
    assert listed.tags["converted_from_run"] == run_id
    assert listed.tags["backbone"] == CONVERTED


@pytest.mark.parametrize(("is_channels_first", "softmax"), [(True, False), (False, True)])
def test_an_onnx_file_is_served_whatever_its_layout_and_ending(
    trained: Workspace, log: LogModel, is_channels_first: bool, softmax: bool
) -> None:
    network = fit_network(trained, softmax=softmax)
    proto = to_onnx(network, is_channels_first)
    run_id = log(lambda mlflow: mlflow.onnx.log_model(proto, name="model", pip_requirements=[]))
    registration = register_run(trained, run_id, STATED)
    assert any("a softmax was added" in note for note in registration.notes) is not softmax
    assert any("1800 inputs" in note for note in registration.notes)
    pixels, _ = pictures(trained)
    expected = network.predict(pixels / np.float32(255), verbose=0)
    if not softmax:
        expected = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    assert_serves(trained, 2, expected)


def test_a_saved_model_is_served(trained: Workspace, log: LogModel) -> None:
    network = fit_network(trained, scaled_inside=True)
    tensorflow = load_tensorflow()

    class Module(tensorflow.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        @tensorflow.function(input_signature=[tensorflow.TensorSpec((None, SIZE, SIZE, 3), tensorflow.uint8)])
        def __call__(self, images: Any) -> Any:
            return {"answers": self.network(tensorflow.cast(images, tensorflow.float32), training=False)}

    run_id = log(
        lambda mlflow: (
            mlflow.tensorflow.log_model(Module(), name="model", pip_requirements=[]),
            mlflow.log_text("0\n1\n2\n", "classes.txt"),
        )
    )
    assert register_run(trained, run_id).verdict.model_version == 2
    assert_serves(trained, 2, network.predict(pictures(trained)[0], verbose=0))


def test_a_network_without_a_dense_layer_goes_without_features_of_its_own(trained: Workspace, log: LogModel) -> None:
    network = fit_network(trained, dense=False)
    run_id = log(lambda mlflow: mlflow.keras.log_model(network, name="model", pip_requirements=[]))
    registration = register_run(trained, run_id, STATED)
    assert any("its class scores are used as its features" in note for note in registration.notes)
    pixels, _ = pictures(trained)
    assert_serves(trained, 2, network.predict(pixels / np.float32(255), verbose=0))
    assert load_version(trained, 2).predict(pixels[:1]).features.shape == (1, 3)


@pytest.mark.parametrize("name", SCALES)
def test_each_scale_is_what_its_source_says(name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    preprocess = load_keras().applications.imagenet_utils.preprocess_input
    modes = {"caffe": "caffe", "-1-1": "tf", "imagenet": "torch"}
    plain = {"0-1": pixels / np.float32(255), "0-255": pixels.astype(np.float32)}
    expected = preprocess(pixels.astype(np.float32), mode=modes[name]) if name in modes else plain[name]
    np.testing.assert_allclose(SCALES[name].apply(pixels), expected, rtol=1e-4, atol=1e-3)


def test_a_network_that_wants_blue_first_gets_it(trained: Workspace, log: LogModel) -> None:
    network = fit_network(trained)
    run_id = log(lambda mlflow: mlflow.keras.log_model(network, name="model", pip_requirements=[]))
    register_run(trained, run_id, ModelDescription(classes=CLASSES, scale="caffe"))
    pixels, _ = pictures(trained)
    colours = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
    expected = network.predict(SCALES["caffe"].apply(colours), verbose=0)
    np.testing.assert_allclose(load_version(trained, 2).predict(colours).probabilities, expected, atol=1e-3)


def lambda_network() -> Any:
    keras = load_keras()
    return keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x[:, :3])]
    )


def wrong_shape() -> Any:
    keras = load_keras()
    return keras.Sequential([keras.Input((SIZE,)), keras.layers.Dense(3, activation="softmax")])


def any_size() -> Any:
    keras = load_keras()
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((None, None, 3)), layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]
    )


def two_inputs() -> Any:
    keras = load_keras()
    one, other = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    joined = keras.layers.Flatten()(keras.layers.Add()([one, other]))
    return keras.Model([one, other], keras.layers.Dense(3, activation="softmax")(joined))


def not_finite() -> Any:
    keras = load_keras()
    network = any_size()
    network.layers[-1].set_weights([np.full((3, 3), np.nan, np.float32), np.zeros(3, np.float32)])
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *network.layers])


@pytest.mark.parametrize(
    ("make", "statement", "complaint"),
    [
        (lambda_network, STATED, "without Lambda layers"),
        (wrong_shape, STATED, "takes square RGB images"),
        (two_inputs, STATED, "one input"),
        (any_size, STATED, "--image-size"),
        (not_finite, STATED, "finite"),
        (any_size, ModelDescription(SIZE, None, CLASSES), "--scale"),
        (any_size, ModelDescription(SIZE, "0-2", CLASSES), "Received: '0-2'"),
        (any_size, ModelDescription(SIZE, "0-1", None), "3 distinct class names"),
        (any_size, ModelDescription(SIZE, "0-1", ("0", "1")), "3 distinct class names"),
        (any_size, ModelDescription(SIZE, "0-1", ("0", "1", "1")), "3 distinct class names"),
    ],
)
def test_what_cannot_be_converted_is_refused_and_nothing_is_registered(
    trained: Workspace, log: LogModel, make: Callable[[], Any], statement: ModelDescription, complaint: str
) -> None:
    run_id = log(lambda mlflow: mlflow.keras.log_model(make(), name="model", pip_requirements=[]))
    with pytest.raises(ModelLoadError, match=complaint):
        register_run(trained, run_id, statement)
    assert [model.version for model in list_models(trained)] == [1]


def test_files_that_are_damaged_foreign_or_outside_are_refused(
    trained: Workspace, log: LogModel, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(to_onnx(fit_network(trained)).SerializeToString())

    def log_files(flavors: str, content: bytes) -> str:
        def logs(mlflow: Any) -> None:
            model = mlflow.initialize_logged_model(name="model", source_run_id=mlflow.active_run().info.run_id)
            folder = tmp_path / "files"
            folder.mkdir(exist_ok=True)
            (folder / "MLmodel").write_text(f"flavors: {flavors}\n")
            (folder / "model.onnx").write_bytes(content)
            mlflow.MlflowClient().log_model_artifacts(model.model_id, str(folder))
            mlflow.finalize_logged_model(model.model_id, "READY")
            mlflow.MlflowClient().log_outputs(
                mlflow.active_run().info.run_id, [mlflow.entities.LoggedModelOutput(model.model_id, 0)]
            )

        return log(logs)

    for flavors, content, complaint in (
        ("{onnx: {data: model.onnx}}", b"no onnx", "ONNX file that loads"),
        (f"{{onnx: {{data: ../../../../../../{outside}}}}}", b"", "inside the logged model"),
        (f"{{onnx: {{data: {outside}}}}}", b"", "inside the logged model"),
        ("{sklearn: {}}", b"", "flavours sklearn"),
        ("{}", b"", "flavours none"),
        ("[", b"", "MLmodel file"),
    ):
        with pytest.raises(ModelLoadError, match=complaint):
            register_run(trained, log_files(flavors, content), STATED)
    assert [model.version for model in list_models(trained)] == [1]
