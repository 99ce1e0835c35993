"""Answer stored items, for tasks whose models work on a backbone's features."""

from collections.abc import Sequence

from ml.backbones.features import ensure_features
from ml.catalog.answers import Answer
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import demand_images
from ml.progress import Progress
from ml.tasks.task import Model


def answer_from_features(
    catalog: Catalog, model: Model, items: Sequence[str], on_progress: Progress | None = None
) -> list[Answer]:
    """Answer items from their features. Compute and store features that are missing. See `Task.answer_stored`."""
    card = model.card
    with catalog.begin() as connection:
        images = demand_images(connection, items)
    features = ensure_features(
        catalog,
        lambda images: model.predict(images).features,
        card.backbone_id,
        card.image_size,
        images,
        on_progress,
    )
    return model.answer(features)
