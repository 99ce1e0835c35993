"""One trunk per recipe, made once and shared: whoever computes features or serves uses the same bytes."""

import hashlib

from ml.catalog import trunks
from ml.catalog.database import Catalog
from ml.catalog.object_store import trunk_key
from ml.errors import WeightsError
from ml.model.export import export_trunk
from ml.model.preprocessing import PREPROCESSING_VERSION
from ml.model.weights import resolve_weights
from ml.settings import Settings


def ensure_trunk(catalog: Catalog, settings: Settings) -> tuple[bytes, str]:
    """The trunk that the settings ask for, made now if nobody made it before.

    Returns: its ONNX file, and the recipe of its weights.
    Raises: WeightsError, its weights cannot be had, or the stored file is not the one that was made.
    """
    weights = resolve_weights(settings.trunk_weights)
    recipe = f"{weights.recipe} {settings.image_size}px {settings.model_precision} {PREPROCESSING_VERSION}"
    with catalog.begin() as connection:
        trunks.hold_trunks(connection)
        onnx_sha256 = trunks.find_trunk(connection, recipe)
        if onnx_sha256 is None:
            content = export_trunk(weights, settings.image_size)
            onnx_sha256 = hashlib.sha256(content).hexdigest()
            # The file before the row that names it: a crash between the two leaves nothing that lies.
            catalog.store.put(trunk_key(onnx_sha256), content)
            trunks.save_trunk(connection, recipe, onnx_sha256)
            return content, weights.recipe
    content = catalog.store.get(trunk_key(onnx_sha256))
    if hashlib.sha256(content).hexdigest() != onnx_sha256:
        raise WeightsError(
            f"Expected the trunk {onnx_sha256} at {trunk_key(onnx_sha256)} in the image store; its bytes are others. "
            "Delete that object and its row in training.trunks, then repeat."
        )
    return content, weights.recipe
