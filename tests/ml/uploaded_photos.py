"""Uploads as the service leaves them: the photo, its features, the answer of a version, and the prediction."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ml.app import Workspace, load_version
from ml.backbones.preprocessing import to_pixels
from ml.catalog.images.feature_vectors import IDENTITY, save_features
from ml.catalog.items.item_records import ItemRecord, add_predicted
from ml.catalog.logs.results import save_prediction, save_result
from ml.catalog.object_store import image_key
from ml.ingest.validation import sanitise


def read_photos(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted(folder.rglob("*.png"))]


def turn_photo(content: bytes, degrees: int = 45) -> bytes:
    """Turn a photo: models are unsure about what they never saw."""
    turned = BytesIO()
    Image.open(BytesIO(content)).rotate(degrees, Image.Resampling.BILINEAR).save(turned, "PNG")
    return turned.getvalue()


def upload(workspace: Workspace, version: int, contents: list[bytes]) -> list[str]:
    """Ask a version about photos. Returns: their hashes."""
    model, hashes = load_version(workspace, version), []
    for content in contents:
        image = sanitise(content)
        workspace.catalog.store.put(image_key(image.sha256), image.content)
        output = model.predict(to_pixels(image.content, model.card.image_size)[np.newaxis])
        with workspace.catalog.begin() as connection:
            add_predicted(connection, ItemRecord("upload", image.record))
            save_features(connection, {(image.sha256, IDENTITY): output.features[0]}, model.card.backbone_id)
            result_id = save_result(connection, image.sha256, version, output.answers[0]).id
            save_prediction(connection, result_id, None, False)
        hashes.append(image.sha256)
    return hashes
