"""The forms for a photo and for an opinion on its answer."""

from typing import Any

from flask_babel import lazy_gettext as _
from flask_wtf import FlaskForm
from wtforms import RadioField, StringField
from wtforms.validators import AnyOf, Length

from ml.data.feedback import Instead
from webapi.pages.page_words.field_labels import FIELD_LABELS

_LONGEST_NAME = 200
_CHOICES = [
    ("known", _("One of the species that I know")),
    ("other", _("Another species")),
    ("none", _("None of these: not a species at all, or nothing to be seen")),
    ("unsure", _("I am not sure")),
]


class NamingForm(FlaskForm):  # type: ignore[misc]
    """A photo: the page has fields for files beside this address."""

    url = StringField(FIELD_LABELS["url"], [Length(max=4096)])


class OpinionForm(FlaskForm):  # type: ignore[misc]
    """Whether an answer is right, and if not, what the photo shows."""

    verdict = StringField(validators=[AnyOf(["ok", "nok"])])
    what = RadioField(_("What is it?"), choices=_CHOICES, default="known", validate_choice=False)
    label = StringField(FIELD_LABELS["label"], [Length(max=_LONGEST_NAME)])
    other_name = StringField(FIELD_LABELS["other_name"], [Length(max=_LONGEST_NAME)])

    def validate(self, extra_validators: Any = None) -> bool:
        """Check that a name comes with the choice that needs one."""
        is_valid = bool(super().validate(extra_validators))
        if self.verdict.data == "nok" and self._chosen == "known" and not (self.label.data or "").strip():
            self.label.errors = [*self.label.errors, _("Choose a name, or say below that it is another species.")]
            return False
        return is_valid

    @property
    def is_filled(self) -> bool:
        """Whether the form is shown again with an answer in it."""
        return bool(self.verdict.data == "nok")

    @property
    def corrected_label(self) -> str | None:
        """The class that it is; None if the form says something else."""
        return str(self.label.data).strip() if self._chosen == "known" else None

    @property
    def instead(self) -> Instead | None:
        """What is said in place of a class."""
        match self._chosen:
            case "other" | "none" | "unsure" as said:
                return said
        return None

    @property
    def proposed_name(self) -> str | None:
        """The name of another species, if it was written."""
        written = str(self.other_name.data or "").strip() if self._chosen == "other" else ""
        return written or None

    @property
    def _chosen(self) -> str | None:
        return self.what.data if self.verdict.data == "nok" else None
