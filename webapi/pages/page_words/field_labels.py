"""The labels of the fields that people type into. The other fields of forms are hidden, or choices."""

from flask_babel import lazy_gettext as _

FIELD_LABELS = {
    "login": _("Login"),
    "url": _("Address of a photo"),
    "label": _("Its name"),
    "other_name": _("Its name, if you know it"),
}
