"""Which networks are compared, and which requests are refused before any work."""

import logging
from pathlib import Path

import pytest

from ml.backbones import registered
from ml.backbones.efficientnet_lite import efficientnet_lite_backbone
from ml.backbones.vgg16.vgg16_backbone import Vgg16
from ml.catalog import home_choices
from ml.catalog.database import Catalog
from ml.errors import SettingsError, WeightsError
from ml.settings import Settings
from ml.training.chosen_backbone import kept_backbone
from ml.training.comparison import candidates
from ml.training.comparison.candidates import ComparisonRequest, choose_candidates

LITE0, VGG16 = "efficientnet_lite0", "vgg16"


@pytest.fixture(autouse=True)
def out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras' server, which lies outside, does not answer."""
    monkeypatch.setattr(Vgg16, "choose_weights", lambda _: ("bundled", "a test says so"))


@pytest.fixture
def silent(settings: Settings) -> Settings:
    """A home that names no backbone, weights or size."""
    return settings.model_copy(update={"weights": None, "backbone": None, "image_size": None})


def only(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if no other backbone were registered."""
    monkeypatch.setattr(candidates, "REGISTERED", {name: registered.REGISTERED[name] for name in names})


def labels(catalog: Catalog, settings: Settings, **request: object) -> list[str]:
    return [each.label for each in choose_candidates(catalog, settings, ComparisonRequest(**request))]  # type: ignore[arg-type]


def test_by_default_all_backbones_are_compared_at_their_own_size_in_both_precisions(
    catalog: Catalog, silent: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, VGG16, LITE0)
    assert labels(catalog, silent) == [
        "vgg16, bundled, 160 px, fp32",
        "vgg16, bundled, 160 px, int8",
        "efficientnet_lite0, imagenet, 224 px, fp32",
        "efficientnet_lite0, imagenet, 224 px, int8",
    ]


def test_each_requested_network_comes_once(catalog: Catalog, silent: Settings) -> None:
    request = {
        "backbones": (LITE0, VGG16, LITE0),
        "image_sizes": (224, 64, 224),
        "precisions": ("fp32", "fp32"),
        "weights": {VGG16: ("random", "bundled", "random")},
    }
    assert labels(catalog, silent, **request) == [
        "efficientnet_lite0, imagenet, 64 px, fp32",
        "efficientnet_lite0, imagenet, 224 px, fp32",
        "vgg16, random, 64 px, fp32",
        "vgg16, random, 224 px, fp32",
        "vgg16, bundled, 64 px, fp32",
        "vgg16, bundled, 224 px, fp32",
    ]


def test_weights_and_size_are_those_that_a_training_here_would_take(catalog: Catalog, silent: Settings) -> None:
    asked = {"backbones": (VGG16,), "precisions": ("fp32",)}
    with catalog.begin() as connection:
        home_choices.keep_choice(connection, "weights of vgg16", "random", "a test says so")
    assert labels(catalog, silent, **asked) == ["vgg16, random, 160 px, fp32"]
    named = silent.model_copy(update={"weights": "bundled", "image_size": 96})
    assert labels(catalog, named, **asked) == ["vgg16, bundled, 96 px, fp32"]
    other = silent.model_copy(update={"weights": "mine.pth"})  # weights of another backbone
    assert labels(catalog, other, **asked) == ["vgg16, random, 160 px, fp32"]


def test_weights_that_are_not_available_are_replaced_and_told(
    catalog: Catalog, silent: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    gone = silent.model_copy(update={"weights": "/nowhere/mine.weights.h5"})
    assert labels(catalog, gone, backbones=(VGG16,), precisions=("fp32",)) == ["vgg16, bundled, 160 px, fp32"]
    assert "vgg16 is not compared with MYCOFLOW_WEIGHTS=/nowhere/mine.weights.h5" in caplog.text


def test_a_backbone_without_weights_is_left_out_unless_it_was_asked_for(
    catalog: Catalog, silent: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: str) -> None:
        raise WeightsError("the package is not installed")

    monkeypatch.setattr(efficientnet_lite_backbone.EfficientNetLite0, "resolve_weights", staticmethod(fail))
    with caplog.at_level(logging.WARNING):
        assert all(LITE0 not in label for label in labels(catalog, silent))
    assert "efficientnet_lite0 is not compared: the package is not installed" in caplog.text
    with pytest.raises(WeightsError, match="not installed"):
        labels(catalog, silent, backbones=(LITE0,))
    only(monkeypatch, LITE0)
    with pytest.raises(WeightsError, match="Found none here"):
        labels(catalog, silent)


def test_a_file_is_shown_by_its_name(catalog: Catalog, silent: Settings, tmp_path: Path) -> None:
    from ml.backbones.vgg16.weights import BUNDLED_FILE

    mine = tmp_path / "mine.weights.h5"
    mine.write_bytes(BUNDLED_FILE.read_bytes())
    request = {"backbones": (VGG16,), "precisions": ("fp32",), "weights": {VGG16: (str(mine),)}}
    assert labels(catalog, silent, **request) == ["vgg16, mine.weights.h5, 160 px, fp32"]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"backbones": ("resnet",)}, "Expected one of Mycoflow's backbones: .* Received: 'resnet'"),
        ({"weights": {"resnet": ("random",)}}, "Received: 'resnet'"),
        ({"backbones": (LITE0,), "weights": {VGG16: ("random",)}}, "Received weights for vgg16 too"),
        ({"precisions": ("fp16",)}, "Expected precisions: fp32, int8, or both. Received: 'fp16'"),
        ({"precisions": ("int8", "INT8")}, "Received: 'INT8'"),
        ({"precisions": ()}, "Received: none"),
        ({"backbones": (VGG16,), "image_sizes": (31,)}, "from 32 to 512 pixels for vgg16. Received: 31"),
        ({"image_sizes": (160, 513)}, "Received: 513"),
        ({"image_sizes": (0,)}, "Received: 0"),
        ({"image_sizes": (-224,)}, "Received: -224"),
    ],
)
def test_what_does_not_exist_is_refused_before_weights_are_read(
    catalog: Catalog, silent: Settings, monkeypatch: pytest.MonkeyPatch, request_: dict[str, object], message: str
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(Vgg16, "resolve_weights", staticmethod(fail))
    with pytest.raises(SettingsError, match=message):
        labels(catalog, silent, **request_)


@pytest.mark.parametrize("source", ["imagenett", "/nowhere/mine.weights.h5", "mine.pth"])
def test_named_weights_that_are_not_there_are_an_error(catalog: Catalog, silent: Settings, source: str) -> None:
    with pytest.raises(WeightsError, match="there is no such file"):
        labels(catalog, silent, backbones=(VGG16,), weights={VGG16: (source,)})


def test_the_home_chooses_nothing(catalog: Catalog, silent: Settings) -> None:
    labels(catalog, silent)
    assert kept_backbone(catalog) is None
    with catalog.begin() as connection:
        assert home_choices.find_choice(connection, "weights of vgg16") is None
