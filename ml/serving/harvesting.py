"""Harvest images with confident answers for training, after each prediction."""

import logging
from dataclasses import dataclass

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.data.copies.near_copies import prepare_search
from ml.data.harvest import harvest, is_harvestable
from ml.deadlines import Deadline
from ml.errors import CatalogError, TimeOverError
from ml.ingest.photo_quality import has_good_quality
from ml.serving.loaded_model import LoadedModel
from ml.serving.prediction_store import Prediction
from ml.settings import Settings

_SECONDS = 2.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Harvester:
    """Harvests the image of one request.

    Args:
        settings: the confidence from which answers are harvested.
        account_id: the account that sent the image.
        deadline: the deadline of the request.
    """

    settings: Settings
    catalog: Catalog
    model: LoadedModel
    account_id: int
    deadline: Deadline

    def harvest(self, sha256: str, prediction: Prediction) -> None:
        """Add an image to the pool if its answer is confident. Only log errors of the catalog: the answer is valid."""
        annotation = self.model.task.harvest(prediction.answer, self.settings.harvest_confidence)
        if not prediction.may_be_harvested or annotation is None:
            return
        try:
            self._add_to_pool(sha256, annotation)
        except (CatalogError, TimeOverError) as error:  # the next request for this image tries again
            _logger.warning("Image %s is not harvested this time: %s", sha256, error)

    def _add_to_pool(self, sha256: str, annotation: Annotation) -> None:
        # An ingestion or another long write may hold the membership lock. Limit the wait: the answer is ready.
        catalog, mirrored = self.catalog.until(self.deadline.sooner(_SECONDS)), self.settings.mirrored_views
        with catalog.begin() as connection:
            if not is_harvestable(connection, sha256, self.account_id):
                return  # checked before taking the lock that all writers share
        prepare_search(catalog, [sha256], mirrored)
        with catalog.begin() as connection:
            harvest(connection, sha256, annotation, self.model.version, self.account_id, mirrored, has_good_quality)
