"""Alerts in words, and the page where one acts."""

from flask import url_for
from flask_babel import gettext as _

_DASHBOARD = frozenset({"below_floor", "new_images", "task_failed"})
_MODELS = frozenset(
    {"retraining_failed", "retraining_overdue", "not_served", "promotion_waiting", "promoted", "rolled_back"}
    | {"moved_externally"}
)


def alert_words(kind: str) -> str:
    """Return a kind of alert in the reader's language. The alert itself is in English."""
    words = {
        "below_floor": _("Below the floor"),
        "new_images": _("Enough new images"),
        "retraining_failed": _("A training failed"),
        "retraining_overdue": _("A training is overdue"),
        "task_failed": _("A task failed"),
        "not_served": _("A version does not load"),
        "quarantine": _("A batch waits"),
        "promotion_waiting": _("An approval waits"),
        "promoted": _("A new version"),
        "rolled_back": _("A rollback"),
        "moved_externally": _("Changed in MLflow"),
    }
    return str(words.get(kind, kind))


def alert_page(kind: str) -> tuple[str, str] | None:
    """Return the address and the name of the page where one acts on a kind of alert; None if no page helps."""
    if kind in _DASHBOARD:
        return url_for("dashboard.show_dashboard"), str(_("Dashboard"))
    if kind in _MODELS:
        return url_for("versions.show_versions"), str(_("Models"))
    if kind == "quarantine":
        return url_for("source_batches.show_batches"), str(_("Batches"))
    return None
