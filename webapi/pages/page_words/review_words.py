"""The words of the review pages."""

from flask_babel import lazy_gettext as _

QUEUES = {
    "mispredicted": (_("Mispredicted"), _("Somebody said that the answer is wrong.")),
    "waiting": (_("Waiting for a certificate"), _("Photos from sources, with the label that the source states.")),
    "uncertain": (_("Uncertain"), _("The model wavers between two species; the closest first.")),
    "suspected": (_("Suspected wrong labels"), _("Photos whose label the other photos contradict.")),
}
REASONS = {
    "blurred or dark": _("blurred or dark"),
    "shows no species": _("shows no species"),
    "shows several species": _("shows several species"),
    "not usable": _("not usable"),
}
