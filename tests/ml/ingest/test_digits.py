"""The digit sample: always the same parts, none shared, all fit for ingestion."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml.ingest.digits import DigitFolders, write_digits
from ml.ingest.validation import sanitise


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DigitFolders:
    return write_digits(tmp_path_factory.mktemp("digits"))


def counts(folder: Path) -> dict[str, int]:
    return dict(sorted(Counter(path.parent.name for path in folder.glob("*/*.png")).items()))


def test_the_evaluation_part_holds_25_of_each_digit(digits: DigitFolders) -> None:
    assert counts(digits.evaluation) == {str(digit): 25 for digit in range(10)}


def test_the_first_thousand_hold_few_eights_and_nines(digits: DigitFolders) -> None:
    assert counts(digits.first) == {str(digit): 20 if digit in (8, 9) else 120 for digit in range(10)}


def test_the_other_547_arrive_later(digits: DigitFolders) -> None:
    assert sum(counts(digits.later).values()) == 547
    assert all(counts(digits.later)[digit] > 100 for digit in "89")


def test_no_image_is_in_two_parts(digits: DigitFolders) -> None:
    contents = [p.read_bytes() for part in (digits.evaluation, digits.first, digits.later) for p in part.glob("*/*")]
    assert len(contents) == len(set(contents)) == 1797


def test_the_parts_are_the_same_every_time(digits: DigitFolders, tmp_path: Path) -> None:
    again = write_digits(tmp_path)
    for before, after in ((digits.evaluation, again.evaluation), (digits.first, again.first)):
        assert {p.relative_to(before): p.read_bytes() for p in before.glob("*/*")} == {
            p.relative_to(after): p.read_bytes() for p in after.glob("*/*")
        }


def test_an_image_shows_the_digit_that_its_folder_names(digits: DigitFolders) -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    for path in digits.evaluation.glob("*/*.png"):
        index = int(path.stem)
        assert data.target[index] == int(path.parent.name)
        shown = Image.open(path).resize((8, 8), Image.Resampling.BOX)
        assert np.corrcoef(np.asarray(shown).ravel(), data.images[index].ravel())[0, 1] > 0.9


def test_the_images_pass_validation(digits: DigitFolders) -> None:
    image = sanitise(next(digits.first.glob("8/*.png")).read_bytes())
    assert (image.width, image.height) == (32, 32)
