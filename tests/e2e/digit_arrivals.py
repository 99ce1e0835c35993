"""Digits that arrive in the catalog of a running stack."""

import shutil
from pathlib import Path

from ml.catalog.database import Catalog
from ml.catalog.items.item_records import Split
from ml.ingest.digits import DigitFolders
from ml.ingest.folder import ingest_folder


def ingest_digits(catalog: Catalog, digits: DigitFolders, folder: Path, split: Split, start: int, count: int) -> None:
    """Copy `count` digits of each class, from the `start`th, to a new folder, and ingest it."""
    source = digits.evaluation if split == "evaluation" else digits.later
    for label in sorted(source.iterdir()):
        (folder / label.name).mkdir(parents=True)
        for file in sorted(label.iterdir())[start : start + count]:
            shutil.copy(file, folder / label.name)
    assert ingest_folder(catalog, folder, split).rejects == []
