"""Which backbone and which weights a home takes."""

import logging

import pytest

from ml.backbones import registered
from ml.backbones.vgg16.vgg16_backbone import BACKBONE, Vgg16
from ml.catalog.database import Catalog
from ml.errors import SettingsError
from ml.settings import Settings
from ml.training.chosen_backbone import chosen_backbone, chosen_weights, kept_backbone
from tests import three_layers


def choose(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be had from Keras' server, which lies outside."""
    monkeypatch.setattr(Vgg16, "choose_weights", lambda _: (value, "a test says so"))


@pytest.fixture
def silent(settings: Settings) -> Settings:
    return settings.model_copy(update={"weights": None})


def test_the_first_choice_stands_and_is_told_once(
    catalog: Catalog, silent: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choose("bundled", monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert chosen_weights(catalog, silent, BACKBONE) == "bundled"
        choose("imagenet", monkeypatch)  # the network came back
        assert chosen_weights(catalog, silent, BACKBONE) == "bundled"
    assert [record.getMessage() for record in caplog.records] == [
        "This home uses MYCOFLOW_WEIGHTS=bundled from now on: a test says so"
    ]


def test_a_setting_goes_before_the_choice_and_leaves_it(
    catalog: Catalog, silent: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("bundled", monkeypatch)
    chosen_weights(catalog, silent, BACKBONE)
    assert chosen_weights(catalog, silent.model_copy(update={"weights": "random"}), BACKBONE) == "random"
    assert chosen_weights(catalog, silent, BACKBONE) == "bundled"


def test_a_home_keeps_its_backbone_until_the_setting_names_another(
    catalog: Catalog, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    another = three_layers.NAME
    named = settings.model_copy(update={"backbone": another})
    with caplog.at_level(logging.WARNING):
        assert chosen_backbone(catalog, settings).name == "vgg16"
        assert chosen_backbone(catalog, settings).name == "vgg16"
        assert chosen_backbone(catalog, named).name == another
        assert chosen_backbone(catalog, settings).name == another  # the setting is gone, its word stands
    assert [record.getMessage().partition(" from now on")[0] for record in caplog.records] == [
        "This home uses MYCOFLOW_BACKBONE=vgg16",
        f"This home uses MYCOFLOW_BACKBONE={another}",
    ]


def imagenet_of_vgg16(is_available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    choose("imagenet" if is_available else "bundled", monkeypatch)


@pytest.mark.parametrize(
    ("weights", "is_available", "expected"),
    [
        (None, True, "vgg16"),
        (None, False, "efficientnet_lite0"),
        ("imagenet", True, "vgg16"),
        ("imagenet", False, "efficientnet_lite0"),
        ("bundled", False, "vgg16"),
        ("random", False, "vgg16"),
        ("mine.weights.h5", False, "vgg16"),
        ("mine.pth", True, "efficientnet_lite0"),
    ],
)
def test_a_home_without_settings_takes_a_backbone_with_real_weights_and_keeps_it(
    catalog: Catalog,
    silent: Settings,
    monkeypatch: pytest.MonkeyPatch,
    weights: str | None,
    is_available: bool,
    expected: str,
) -> None:
    imagenet_of_vgg16(is_available, monkeypatch)
    settings = silent.model_copy(update={"weights": weights})
    assert kept_backbone(catalog) is None
    assert chosen_backbone(catalog, settings).name == expected
    imagenet_of_vgg16(not is_available, monkeypatch)
    assert chosen_backbone(catalog, settings).name == expected
    assert kept_backbone(catalog) == expected


def test_where_no_backbone_has_its_imagenet_weights_the_first_is_taken(
    catalog: Catalog, silent: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagenet_of_vgg16(False, monkeypatch)
    monkeypatch.delitem(registered.REGISTERED, "efficientnet_lite0")
    assert chosen_backbone(catalog, silent).name == "vgg16"
    assert chosen_weights(catalog, silent, BACKBONE) == "bundled"


def test_an_unknown_backbone_changes_nothing(catalog: Catalog, settings: Settings) -> None:
    with pytest.raises(SettingsError, match="backbones: vgg16"):
        chosen_backbone(catalog, settings.model_copy(update={"backbone": "resnet"}))
    assert chosen_backbone(catalog, settings).name == "vgg16"


def test_each_backbone_has_a_choice_of_weights_of_its_own(
    catalog: Catalog, silent: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("bundled", monkeypatch)
    assert chosen_weights(catalog, silent, BACKBONE) == "bundled"
    assert chosen_weights(catalog, silent, three_layers.BACKBONE) == "random"
    assert chosen_weights(catalog, silent, BACKBONE) == "bundled"
