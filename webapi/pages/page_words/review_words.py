"""Review in words: the queues, what is known of a photo, and who decided first."""

from datetime import datetime

from flask_babel import gettext as _

from ml.data.reviewing.deciding import Conflict
from ml.data.reviewing.queue_reading import Entry, Queue
from webapi.pages.page_words.template_words import write_percent


def queue_words() -> dict[Queue, tuple[str, str]]:
    """Return the name and the meaning of each queue."""
    return {
        "mispredicted": (
            str(_("Mispredicted")),
            str(_("Somebody said that the answer is wrong.")),
        ),
        "waiting": (
            str(_("Waiting for a certificate")),
            str(_("Sources brought these photos with a label. Models learn from them once somebody has certified it.")),
        ),
        "uncertain": (
            str(_("Uncertain")),
            str(_("The model hesitated between two species. The closest calls come first.")),
        ),
        "suspected": (
            str(_("Suspected wrong labels")),
            str(_("A model that has not seen the photo is sure that its label is wrong.")),
        ),
        "disputed": (
            str(_("Two models differ")),
            str(_("A random sample. Say what each photo shows: that tells which of two models is right.")),
        ),
    }


def list_facts(entry: Entry) -> list[str]:
    """Return what models and people said of a photo; what a person said comes last."""
    facts = []
    if entry.doubt is not None:
        more = write_percent(entry.doubt)
        facts.append(str(_("Suspected: %(name)s, %(share)s more probable", name=entry.class_name, share=more)))
    if entry.probabilities:
        name, share = max(entry.probabilities.items(), key=lambda each: each[1])
        facts.append(str(_("Model: %(name)s, %(share)s", name=name, share=write_percent(share))))
    label = None if entry.annotation is None else entry.annotation.label
    if label is not None and label != entry.proposed:
        facts.append(str(_("Label: %(name)s", name=label)))
    if entry.said_at is not None:
        who = entry.login or str(_("A former account"))
        facts.append(f"{who}: {_say(entry)}")
    return facts


def describe_photo(queue: Queue, entry: Entry, number: int) -> str:
    """Return the text that stands for a photo: its number on the page, and no more than its card says of it."""
    parts = [str(_("Photo %(number)s", number=number))]
    if queue == "waiting" and entry.class_name is not None:
        parts.append(str(_("Source: %(name)s", name=entry.class_name)))
    return ". ".join([*parts, *list_facts(entry)])


def tell_conflict(conflict: Conflict) -> tuple[str, datetime | None]:
    """Say in words who decided first, and when."""
    last = conflict.last
    if last is None:
        return str(_("A photo was changed since you saw it, so your decision about it was not made.")), None
    who = last.login or str(_("A former account"))
    if last.undone_at is not None:
        return str(_("%(who)s decided about a photo before you and undid it.", who=who)), last.undone_at
    if last.reason is not None:
        why = last.reason or str(_("the reason was erased"))
        return str(_("%(who)s was first, and rejected a photo: %(why)s", who=who, why=why)), last.decided_at
    return str(_("%(who)s was first: a photo is now %(name)s", who=who, name=last.class_name)), last.decided_at


def _say(entry: Entry) -> str:
    """Return what a person said in place of the answer."""
    words = {"other": _("another species"), "none": _("none of the species"), "unsure": _("wrong, unsure what")}
    return entry.corrected_label or entry.proposed_name or str(words.get(entry.instead or "", _("wrong")))
