"""The forms that start a training or register a model. Each knows the parameters of its DAG's run."""

from typing import Any

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import BooleanField, DateField, FloatField, IntegerField, RadioField, SelectField, StringField
from wtforms.fields import TextAreaField
from wtforms.validators import DataRequired, InputRequired, Length, NumberRange, Optional, Regexp, StopValidation

from ml.reporting.version_reports.foreign_models import SCALE_NAMES

_WHOLE = _("Write a whole number.")
_SELECTIONS = [
    ("newest", _("The newest")),
    ("balanced", _("The newest of each class, in equal shares")),
    ("all", _("All")),
    ("since", _("All since a day")),
]
_SCALES = [("", _("As its first layer says")), *((name, name) for name in SCALE_NAMES)]
_MOST_CLASSES_CHARACTERS = 100_000


def _between(low: float, high: float) -> NumberRange:
    return NumberRange(low, high, _("Write a number from %(low)s to %(high)s.", low=low, high=high))


def _demand_day(form: FlaskForm, field: DateField) -> None:
    """Demand a day where the selection needs one."""
    if form.selection.data != "since":
        Optional()(form, field)
    elif field.data is None:
        raise StopValidation(str(_("Choose a day.")))


class RetrainForm(FlaskForm):  # type: ignore[misc]
    """Train a new head on a snapshot of the pool."""

    selection = RadioField(_("Photos to train on"), choices=_SELECTIONS, default="newest")
    since = DateField(_("Since"), [_demand_day])
    snapshot_size = IntegerField(_("Number of photos"), [Optional(), _between(2, 1_000_000)])
    seed = IntegerField(_("Seed"), [InputRequired(_WHOLE), _between(0, 2**31 - 1)], default=0)
    base_backbone = BooleanField(_("Start from the base network, even if the model in production was fine-tuned"))
    reason = StringField(_("Reason"), [DataRequired(_("Say why, for the record.")), Length(max=400)])

    def conf(self, actor: str) -> dict[str, Any]:
        """Return the parameters of the run."""
        selection = f"since:{self.since.data.isoformat()}" if self.selection.data == "since" else self.selection.data
        return {
            "selection": selection,
            "snapshot_size": self.snapshot_size.data,
            "seed": self.seed.data,
            "base_backbone": self.base_backbone.data,
            "reason": f"{self.reason.data} ({actor})",
        }


class FinetuneForm(FlaskForm):  # type: ignore[misc]
    """Train the last layers of a version's backbone further."""

    model_version = SelectField(_("Start from version"), coerce=int)
    layers = IntegerField(
        _("Number of the last layers to train"), [InputRequired(_WHOLE), _between(1, 1000)], default=3
    )
    epochs = IntegerField(_("Epochs"), [InputRequired(_WHOLE), _between(1, 100)], default=10)
    learning_rate = FloatField(
        _("Learning rate"), [InputRequired(_("Write a number.")), _between(1e-9, 1.0)], default=1e-5
    )

    def conf(self, actor: str) -> dict[str, Any]:
        """Return the parameters of the run."""
        return {
            "model_version": self.model_version.data,
            "layers": self.layers.data,
            "epochs": self.epochs.data,
            "learning_rate": self.learning_rate.data,
            "requested_by": actor,
        }


class RegisterForm(FlaskForm):  # type: ignore[misc]
    """Make a version of the model that an MLflow run logged."""

    mlflow_run_id = StringField(
        _("Id of the MLflow run"),
        [Regexp("^[0-9a-f]{32}$", message=_("The id of a run has 32 digits and letters from a to f."))],
        filters=[lambda text: text and text.strip()],
    )
    image_size = IntegerField(
        _("Side of the input in pixels, if the network takes any"), [Optional(), _between(1, 1024)]
    )
    scale = SelectField(_("Scale of the input"), choices=_SCALES)
    classes = TextAreaField(
        _("Names of the classes, one in each line, if the run does not state them"),
        [Length(max=_MOST_CLASSES_CHARACTERS)],
    )

    def conf(self, _actor: str) -> dict[str, Any]:
        """Return the parameters of the run."""
        names = [line.strip() for line in (self.classes.data or "").splitlines() if line.strip()]
        return {
            "mlflow_run_id": self.mlflow_run_id.data,
            "image_size": self.image_size.data,
            "scale": self.scale.data or None,
            "classes": names or None,
        }
