"""What is wrong now, in words, and where a person acts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from flask import url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from ml.figures import title_of
from ml.reporting.figures_over_time.troubles import Trouble
from webapi.access.authentication import current_account, has_role
from webapi.pages.page_words.template_words import write_percent


@dataclass(frozen=True)
class Told:
    """A trouble in words.

    Args: at, the time that the words are about; detail, for an admin, in English; ways, where to act: address, words.
    """

    kind: str
    text: str
    at: datetime | None
    detail: str
    ways: list[tuple[str, str]]


def tell_troubles(troubles: Iterable[Trouble]) -> list[Told]:
    """Say in words what is wrong. Only an admin sees messages of errors."""
    is_admin = has_role(current_account(), "admin")
    return [
        Told(each.kind, _tell(each), each.at, each.detail if is_admin else "", list(_find_ways(each)))
        for each in troubles
    ]


def name_drift(names: Iterable[str]) -> str:
    """Name what drifts, in the reader's language."""
    words = {
        "confidence": _("confidence of the answers"),
        "classes": _("classes of the answers"),
        "features": _("features of the photos"),
        "novelty": _("photos of none of the classes"),
    }
    return ", ".join(str(words.get(name, name)) for name in names)


def _tell(trouble: Trouble) -> str:
    if trouble.kind == "below_floor":
        return _tell_shortfall(trouble)
    if trouble.kind == "task_failed":
        dag, task = trouble.names
        return str(_("The task %(task)s of %(dag)s failed.", task=task, dag=dag))
    words = {
        "not_served": _(
            "Version %(version)s is in production, but does not load. The service answers with the version before it, "
            "or not at all.",
            version=trouble.version,
        ),
        "training_failed": _("A training failed, and none has succeeded since."),
        "no_night": _("The nightly check did not run in the last night. The last one:"),
        "no_drift_check": _("Drift was not checked in the last night. The last check:")
        if trouble.at
        else _("Drift was never checked, although a model is in production."),
        "drift": _("Recent photos differ from those of the training: %(names)s.", names=name_drift(trouble.names)),
        "held": _("After a rollback no version is promoted by itself, until an admin releases it."),
    }
    return str(words.get(trouble.kind) or _tell_waiting(trouble))


def _tell_waiting(trouble: Trouble) -> str:
    count = trouble.count
    words = {
        "approval": ngettext(
            "%(num)s new version waits for an admin\u2019s yes or no.",
            "%(num)s new versions wait for an admin\u2019s yes or no.",
            count,
        ),
        "quarantine": ngettext(
            "%(num)s batch waits because too many of its files were rejected.",
            "%(num)s batches wait because too many of their files were rejected.",
            count,
        ),
        "waiting": ngettext("%(num)s photo waits for a certificate.", "%(num)s photos wait for a certificate.", count),
    }
    return str(words[trouble.kind])


def _tell_shortfall(trouble: Trouble) -> str:
    shortfall = trouble.shortfall
    if shortfall is None:
        raise ValueError("Expected a shortfall below the floor, got none.")
    share, floor, name = write_percent(shortfall.value), write_percent(shortfall.floor), shortfall.label
    if name is None and shortfall.figure != "accuracy":
        figure = title_of(shortfall.figure)
        return str(_("%(name)s: %(share)s, below its floor of %(floor)s.", name=figure, share=share, floor=floor))
    if name is None:
        return str(_("The accuracy of %(share)s is below its floor of %(floor)s.", share=share, floor=floor))
    return str(
        _("The recall of %(name)s, %(share)s, is below its floor of %(floor)s.", name=name, share=share, floor=floor)
    )


def _find_ways(trouble: Trouble) -> Iterator[tuple[str, str]]:
    """Yield the addresses where the account may act: pages, then Airflow and the guide."""
    if has_role(current_account(), "admin"):
        yield from _find_admin_pages(trouble)
    if trouble.kind in {"quarantine", "waiting"}:
        yield url_for("reviewing.show_queues"), str(_("Review"))
    if trouble.kind == "below_floor" and trouble.shortfall is not None and trouble.shortfall.label is not None:
        yield url_for("dashboard.show_dashboard", **{"class": trouble.shortfall.label}), str(_("Show this class"))  # type: ignore[arg-type]
    if trouble.runs is not None:
        yield trouble.runs, str(_("Look in Airflow"))
    if trouble.guide is not None:
        yield trouble.guide, str(_("What to do"))


def _find_admin_pages(trouble: Trouble) -> Iterator[tuple[str, str]]:
    match trouble.kind:
        case "not_served":
            yield url_for("promotion.ask_to_roll_back"), str(_("Roll back"))
        case "approval":
            yield url_for("versions.show_versions"), str(_("Look at it and decide"))
        case "training_failed" | "below_floor":
            yield url_for("versions.show_versions"), str(_("Models"))
        case "quarantine":
            yield url_for("source_batches.show_batches"), str(_("Decide about the batches"))
        case "held":
            yield url_for("promotion.ask_to_release"), str(_("Promote automatically again"))
