"""What the model is sure about is kept for training, once it has answered."""

import logging
from dataclasses import dataclass

from ml.catalog.annotations import Annotation
from ml.catalog.database import Catalog
from ml.data.copies.near_copies import prepare_search
from ml.data.harvest import harvest, is_harvestable
from ml.deadlines import Deadline
from ml.errors import CatalogError
from ml.ingest.photo_quality import has_good_quality
from ml.serving.loaded_model import LoadedModel
from ml.serving.prediction_store import Prediction
from ml.settings import Settings

_SECONDS = 2.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Harvester:
    """Looks at the answers of one request.

    Args:
        settings: how sure is sure.
        account_id: whose images they are.
        deadline: the request's.
    """

    settings: Settings
    catalog: Catalog
    model: LoadedModel
    account_id: int
    deadline: Deadline

    def look_at(self, sha256: str, prediction: Prediction) -> None:
        """Put an image into the pool if the model is sure. Never raises: the answer stands, whatever comes."""
        annotation = self.model.task.harvest(prediction.answer, self.settings.harvest_confidence)
        if not prediction.may_be_harvested or annotation is None:
            return
        try:
            self._harvest(sha256, annotation)
        except CatalogError as error:  # the next request for this image tries again
            _logger.warning("Image %s is not harvested for now: %s", sha256, error)

    def _harvest(self, sha256: str, annotation: Annotation) -> None:
        # Whoever writes much, such as an ingestion, may hold the membership; the answer does not wait for long.
        catalog, mirrored = self.catalog.until(self.deadline.sooner(_SECONDS)), self.settings.mirrored_views
        with catalog.begin() as connection:
            if not is_harvestable(connection, sha256, self.account_id):
                return  # found out without the lock that all writers share
        prepare_search(catalog, [sha256], mirrored)
        with catalog.begin() as connection:
            harvest(connection, sha256, annotation, self.model.version, self.account_id, mirrored, has_good_quality)
