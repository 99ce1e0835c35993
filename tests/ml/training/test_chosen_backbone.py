"""Which weights a home takes where its settings name none."""

import logging

import pytest

from ml.catalog.database import Catalog
from ml.settings import Settings
from ml.training import chosen_backbone
from ml.training.chosen_backbone import chosen_weights


def choose(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be had from Keras' server, which lies outside."""
    monkeypatch.setattr(chosen_backbone, "choose_weights", lambda: (value, "a test says so"))


@pytest.fixture
def silent(settings: Settings) -> Settings:
    return settings.model_copy(update={"weights": None})


def test_the_first_choice_stands_and_is_told_once(
    catalog: Catalog, silent: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choose("bundled", monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert chosen_weights(catalog, silent) == "bundled"
        choose("imagenet", monkeypatch)  # the network came back
        assert chosen_weights(catalog, silent) == "bundled"
    assert [record.getMessage() for record in caplog.records] == [
        "This home takes MYCOFLOW_WEIGHTS=bundled from now on: a test says so"
    ]


def test_a_setting_goes_before_the_choice_and_leaves_it(
    catalog: Catalog, silent: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose("bundled", monkeypatch)
    chosen_weights(catalog, silent)
    assert chosen_weights(catalog, silent.model_copy(update={"weights": "random"})) == "random"
    assert chosen_weights(catalog, silent) == "bundled"
