"""Draw where in the photo of a prediction the model saw a class, for those who may see the photo."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml.backbones.preprocessing import to_pixels
from ml.catalog.accounts.user_accounts import Account
from ml.catalog.class_names import same_class_key
from ml.catalog.database import Catalog
from ml.catalog.items.item_records import find_item_images
from ml.data.feedback import StoredPrediction, find_prediction
from ml.data.image_viewing import find_photo
from ml.deadlines import Deadline
from ml.errors import LabelError, NoActivationMapError, UnknownImageError, UnknownPredictionError
from ml.serving.admission import AdmissionControl
from ml.serving.explaining.heat_pictures import draw_heat, encode_png, fit
from ml.serving.loaded_model import LoadedModel
from ml.tasks.task import demand_locating


@dataclass(frozen=True)
class Mapper:
    """Draws the map of one request.

    Args:
        model: the version that is served; it stays the same for the whole request.
        account: that asks. It gets maps of the predictions that it made; experts and admins also of those of others.
    """

    catalog: Catalog
    admission: AdmissionControl
    model: LoadedModel
    account: Account
    deadline: Deadline

    def draw(self, prediction_id: int, class_name: str | None) -> bytes:
        """Draw where in the photo of a prediction the model saw a class.

        Args: class_name, of the model; None for the first class of the answer.
        Returns: PNG, transparent where nothing speaks for the class. It has the proportions of the photo, and shows the
            whole of it.
        Raises:
            UnknownPredictionError: no prediction has this id, its photo was erased, or the account may not see it.
            NoActivationMapError: another version answered than the one that is served, or this one draws no maps.
            LabelError: the model has no such class. BusyError. DatabaseUnavailableError, ImageStoreError.
        """
        prediction, photo = self._find(prediction_id)
        if prediction.model_version != self.model.version:
            raise NoActivationMapError(
                f"Expected a prediction of version {self.model.version}, which is served now, got one of version "
                f"{prediction.model_version}. Ask about the photo again, and use the id of that prediction."
            )
        name = choose_class(self.model.card.classes, class_name, prediction.top_class)
        with self.admission.admit(self.account.id):
            with self.admission.decoding.enter(self.deadline):
                pixels = to_pixels(photo, self.model.card.image_size)
            with self.admission.computing.enter(self.deadline):
                evidence = demand_locating(self.model.model).locate(pixels, name)
            return encode_png(draw_heat(evidence, fit(photo)))

    def _find(self, prediction_id: int) -> tuple[StoredPrediction, bytes]:
        """Return a prediction and its photo."""
        with self.catalog.begin() as connection:
            prediction = find_prediction(connection, prediction_id)
            found = {} if prediction is None else find_item_images(connection, [prediction.item_id])
        is_user = self.account.role == "user"
        if prediction is None or not found or (is_user and prediction.account_id != self.account.id):
            raise _unknown_prediction()
        try:
            return prediction, find_photo(self.catalog, self.account, found[prediction.item_id]).read()
        except UnknownImageError as error:
            raise _unknown_prediction() from error


def choose_class(classes: Sequence[str], asked: str | None, top_class: str | None) -> str:
    """Return the class to draw: the one that was asked for, in any spelling, else the first one of the answer.

    Raises: LabelError, the model has no such class, or the answer has none.
    """
    if asked is None:
        if top_class is None:
            raise LabelError("class: expected a class of the model, because the answer has none, got nothing.")
        return top_class
    spelled = {same_class_key(name): name for name in classes}
    name = asked if asked in classes else spelled.get(same_class_key(asked))
    if name is None:
        raise LabelError(f"class: expected one of the model's {len(classes)} classes, got another name.")
    return name


def _unknown_prediction() -> UnknownPredictionError:
    return UnknownPredictionError(
        "Expected the id of a prediction whose photo you may see and nobody erased, got another."
    )
