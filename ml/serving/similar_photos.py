"""Find the known photos that are the most similar to a photo, by the features of the model that answers."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ml.backbones.onnx_runtime import OnnxBackbone
from ml.backbones.preprocessing import to_pixels
from ml.backbones.served_backbone import find_base_backbone, load_served_backbone
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.database import Catalog
from ml.catalog.images.feature_vectors import IDENTITY, load_features, save_features
from ml.catalog.images.photo_vectors import SimilarPhoto, count_vectors, find_similar_photos
from ml.catalog.items.image_records import keep_images
from ml.catalog.object_store import image_key
from ml.catalog.vector_extension import find_extension
from ml.data.image_viewing import demand_visible
from ml.deadlines import Deadline
from ml.errors import WeightsError
from ml.serving.admission import AdmissionControl
from ml.serving.loaded_model import LoadedModel

SHOWN = 6


@dataclass
class _Opened:
    """The backbone that a fine-tuned model started from. One at a time is loaded, when the first photo needs it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    backbone: OnnxBackbone | None = None


@dataclass(frozen=True)
class SimilarPhotos:
    """Finds similar photos. There is one per application.

    Args: admission, the limits that all requests share.
    """

    admission: AdmissionControl
    _opened: _Opened = field(default_factory=_Opened)

    def find(
        self, catalog: Catalog, model: LoadedModel | None, account: Account, sha256: str, deadline: Deadline
    ) -> list[SimilarPhoto]:
        """Return up to six known photos, the most similar first, at most one of each group.

        Args:
            model: the version that answers; None if there is none.
            account: may see the photo.
            sha256: of the photo.
        Returns: none without a model, without pgvector, or before the first index.
        Raises: UnknownImageError, the account may see no such photo; BusyError, DatabaseUnavailableError,
            ImageStoreError.
        """
        with catalog.begin() as connection:
            group_key = demand_visible(connection, account, sha256)
            if model is None or find_extension(connection) is None:
                return []
            backbone_id = find_base_backbone(connection, model.card.backbone_id)
            if not count_vectors(connection, backbone_id):
                return []
            vector = load_features(connection, [sha256], backbone_id, [IDENTITY]).get((sha256, IDENTITY))
        if vector is None:
            try:
                vector = self._compute(catalog, model, account, backbone_id, sha256, deadline)
            except WeightsError:  # the backbone was made elsewhere, so no photo can be compared with it
                return []
        with catalog.begin() as connection:
            return find_similar_photos(connection, backbone_id, vector, SHOWN, outside_group=group_key)

    def _compute(
        self, catalog: Catalog, model: LoadedModel, account: Account, backbone_id: str, sha256: str, deadline: Deadline
    ) -> NDArray[np.float32]:
        """Compute the features of a stored photo, and store them: a fine-tuned model computes only its own."""
        with self.admission.admit(account.id):
            size, compute = self._backbone(catalog, model, backbone_id)
            content = catalog.store.get(image_key(sha256))
            with self.admission.decoding.enter(deadline):
                pixels = to_pixels(content, size)
            with self.admission.computing.enter(deadline):
                vector: NDArray[np.float32] = compute(pixels[np.newaxis])[0]
        with catalog.begin() as connection:
            if keep_images(connection, [sha256]):  # nobody erased it meanwhile
                save_features(connection, {(sha256, IDENTITY): vector}, backbone_id)
        return vector

    def _backbone(
        self, catalog: Catalog, model: LoadedModel, backbone_id: str
    ) -> tuple[int, Callable[[NDArray[np.uint8]], NDArray[np.float32]]]:
        if backbone_id == model.card.backbone_id:
            return model.card.image_size, lambda images: model.predict(images).features
        with self._opened.lock:
            backbone = self._opened.backbone
            if backbone is None or backbone.backbone_id != backbone_id:
                backbone = OnnxBackbone(load_served_backbone(catalog, backbone_id).onnx)
                self._opened.backbone = backbone
        return backbone.image_size, backbone.features
