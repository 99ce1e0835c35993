"""The photos of the benchmarks."""

import io
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.bench_settings import BenchSettings, load_settings
from benchmarks.dataset import fresh_images, list_images, open_dataset, write_changed
from ml.errors import SettingsError


def test_fresh_images_are_all_different_photos(photos: Path) -> None:
    images = list(islice(fresh_images(photos), 30))
    assert len(set(images)) == 30
    assert {Image.open(io.BytesIO(image)).size for image in images} == {(48, 40)}


def test_changed_copies_replace_half_of_the_images_in_the_same_classes(photos: Path, tmp_path: Path) -> None:
    assert write_changed(photos, tmp_path / "arrived", Image.Transpose.ROTATE_180) == 6
    assert {path.parent.name for path in list_images(tmp_path / "arrived")} == {"amanita", "boletus"}


def test_the_digits_have_the_size_of_the_networks_input(tmp_path: Path) -> None:
    dataset = open_dataset(BenchSettings(data=None, image_size=48), tmp_path)
    assert len(list_images(dataset.initial)) == 1000
    assert len(list_images(dataset.evaluation)) == 250
    with Image.open(list_images(dataset.initial)[0]) as image:
        assert image.size == (48, 48)


def test_a_folder_without_the_two_parts_is_refused(photos: Path) -> None:
    with pytest.raises(SettingsError, match=r"DATA: expected a folder with initial/ and evaluation/"):
        load_settings(photos, quick=False)
