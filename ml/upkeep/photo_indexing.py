"""Index the known photos by their features, so that similar photos are found quickly."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ml.app import Workspace, load_version
from ml.backbones.features import BATCH_IMAGES, ensure_features
from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.served_backbone import find_base_backbone, load_served_backbone
from ml.catalog.images.photo_vectors import find_unstored, index_vectors, save_vectors
from ml.catalog.items.image_records import keep_images
from ml.catalog.vector_extension import find_extension
from ml.deadlines import Deadline

_BATCH = 4 * BATCH_IMAGES


def index_photos(workspace: Workspace, version: int, deadline: Deadline) -> int:
    """Store the features of known photos for pgvector, and index them. Compute those that no training computed.

    Args:
        version: its backbone decides the features; if that was fine-tuned, the backbone that it started from.
        deadline: no further photos after it; the next call goes on.
    Returns: the number of photos that were added; 0 also if the database has no pgvector.
    Raises: ModelLoadError, WeightsError, ImageStoreError, DatabaseUnavailableError.
    """
    catalog = workspace.catalog
    with catalog.begin() as connection:
        if find_extension(connection) is None:
            return 0
    reader = _Reader(workspace, version)
    added = 0
    while deadline.remaining():
        with catalog.begin() as connection:
            missing = find_unstored(connection, reader.backbone_id, _BATCH)
        if not missing:
            break
        features = ensure_features(catalog, reader.compute, reader.backbone_id, reader.image_size, missing)
        vectors = dict(zip(missing, features, strict=True))
        with catalog.begin() as connection:
            kept = keep_images(connection, missing)  # the others were erased meanwhile
            save_vectors(connection, reader.backbone_id, {sha256: vectors[sha256] for sha256 in kept})
        added += len(kept)
    with catalog.begin() as connection:
        index_vectors(connection, reader.backbone_id)
    return added


class _Reader:
    """The base backbone of a version, which is loaded when features are missing."""

    def __init__(self, workspace: Workspace, version: int) -> None:
        model = load_version(workspace, version)
        with workspace.catalog.begin() as connection:
            self.backbone_id = find_base_backbone(connection, model.card.backbone_id)
        self.compute: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
        if self.backbone_id == model.card.backbone_id:
            self.image_size = model.card.image_size
            self.compute = lambda images: model.predict(images).features
        else:
            backbone = OnnxBackbone(load_served_backbone(workspace.catalog, self.backbone_id).onnx)
            self.image_size, self.compute = backbone.image_size, backbone.features
