"""Problems in words for people: what happened, and what to do. The detail for programs stays in English."""

from dataclasses import dataclass
from typing import Any

from flask_babel import lazy_gettext as _

from webapi.problems import ProblemError


@dataclass(frozen=True)
class Words:
    """A title and a sentence or two, in the reader's language when they are shown."""

    title: Any
    text: Any


_BUSY = Words(
    _("A lot is going on right now"),
    _("More people ask than the service can answer at once. Wait a few seconds, then try again."),
)
_SMALLER = Words(
    _("This photo is too large"),
    _("A photo may have up to 4 MB. Make it smaller, or send a copy in lower quality, then try again."),
)
_ADDRESS = Words(
    _("No photo at this address"),
    _(
        "The address must lead to a photo that everybody can see. Open it in another tab to check it, or save the "
        "photo and choose the file instead."
    ),
)
_UNREADABLE = Words(
    _("This file could not be read as a photo"),
    _("It may be damaged, or of another kind. Open it on your device, save it again as JPEG or PNG, then try again."),
)
_BY_SLUG = {
    "unauthorized": Words(
        _("This login and password do not fit together"),
        _("Check both and try again. If you forgot your password, an admin can set a new one."),
    ),
    "stale-form": Words(
        _("This page was open for too long"),
        _("For your safety nothing was done. Look the form over, and send it again."),
    ),
    "database-unavailable": Words(
        _("The database does not answer"),
        _("Nothing you did caused this, and nothing is lost. It is usually back within minutes. Try again then."),
    ),
    "image-store-unavailable": Words(
        _("Photos cannot be stored or read right now"),
        _("Nothing you did caused this. Try again in a few minutes."),
    ),
    "maintenance": Words(
        _("The service is being looked after"),
        _("Photos are not named for a while. Come back in some minutes; everything else still works."),
    ),
    "no-model": Words(
        _("There is no model yet"),
        _("Photos can be named once a first model is trained. An admin starts that."),
    ),
    "busy": _BUSY,
    "time-over": _BUSY,
    "too-many-requests": Words(
        _("That was a lot in a short time"),
        _("To keep the service quick for everybody, there is a limit. Wait a minute, then try again."),
    ),
    "request-entity-too-large": _SMALLER,
    "too-large": _SMALLER,
    "too-many-pixels": _SMALLER,
    "too-small": Words(
        _("This photo is too small"),
        _("A photo needs at least 32 pixels on each side. Choose a larger one."),
    ),
    "too-complex": Words(
        _("This photo takes too long to read"),
        _("Save it again as a plain JPEG, then try again."),
    ),
    "animated": Words(
        _("This picture moves"),
        _("Choose a photo, or save one picture of the animation and send that."),
    ),
    "not-an-image": Words(
        _("This is not a photo"),
        _("Choose a file in one of these formats: JPEG, PNG, WebP, BMP, GIF, TIFF or HEIC."),
    ),
    "unreadable": _UNREADABLE,
    "zero-byte": Words(_("This file is empty"), _("Copy it to your device again, or choose another photo.")),
    "missing-file": Words(_("There is no photo yet"), _("Choose a photo or write the address of one.")),
    "target-refused": _ADDRESS,
    "target-missing": _ADDRESS,
    "target-failed": _ADDRESS,
    "target-too-slow": Words(
        _("The other site takes too long"),
        _("The photo did not arrive in time. Try again, or save the photo and choose the file instead."),
    ),
    "quota-exceeded": Words(
        _("You have stored as many photos as one account may"),
        _("Delete some under “My photos”, then try again."),
    ),
    "account-erased": Words(_("This account was erased"), _("Log in with another account.")),
    "wrong-password": Words(
        _("This is not your present password"),
        _("Type the password that you logged in with, then try again."),
    ),
    "last-admin": Words(
        _("You are the only admin"),
        _("Somebody must be able to manage this service. Make another account an admin first."),
    ),
    "review-conflict": Words(
        _("Somebody was faster"),
        _("Another reviewer decided about these photos first, and that stands. The page shows what is left."),
    ),
    "missing-archive": Words(_("There are no photos yet"), _("Choose a ZIP, or write addresses of photos.")),
    "not-a-zip": Words(
        _("This file could not be read as a ZIP"),
        _("Pack the photos again, as a ZIP without a password, then send that."),
    ),
    "no-photos": Words(
        _("There is nothing to name"),
        _("The ZIP has no files. Put photos into it, then send it again."),
    ),
    "too-many-photos": Words(
        _("Too many photos for one batch"),
        _("A batch may have up to 1000. Divide them, and send one part after the other."),
    ),
    "too-many-batches": Words(
        _("Two of your batches are under way"),
        _("Wait until one of them is done, or cancel it. Then send the next one."),
    ),
    "unsafe-name": Words(
        _("Its name leads out of the ZIP"),
        _("Pack the photos again, from a folder of your own."),
    ),
    "no-file": Words(_("This is a link, not a photo"), _("Put the photo itself into the ZIP.")),
    "encrypted": Words(_("It has a password"), _("Pack the photos again, without a password.")),
    "other-compression": Words(
        _("It is packed in a rare way"),
        _("Pack the photos again, with the usual settings of your program."),
    ),
    "damaged-entry": Words(
        _("It is damaged in the ZIP"),
        _("Pack the photo again. If that fails too, the original may be damaged."),
    ),
    "nested-archive": Words(
        _("This is an archive, not a photo"),
        _("Unpack it, and put its photos into the ZIP themselves."),
    ),
    "archive-lost": Words(
        _("The ZIP is gone"),
        _("It was deleted before this photo had its turn. Send the photo again."),
    ),
    "unknown-version": Words(
        _("There is no such version"),
        _("It may have been deleted in MLflow. The list of models shows what there is."),
    ),
    "model-does-not-load": Words(
        _("This version does not load"),
        _("It was not put into production, and nothing changed. Its page says why it does not load."),
    ),
    "stale-champion": Words(
        _("Another version went into production meanwhile"),
        _("Nothing changed. Look at the list of models, then decide again."),
    ),
    "promotion": Words(
        _("This cannot be done now"),
        _("Nothing changed. The list of models shows what is in production."),
    ),
    "registry-unavailable": Words(
        _("MLflow does not answer"),
        _("Nothing changed. Look whether MLflow runs, then try again."),
    ),
    "registry-state": Words(
        _("MLflow is not as expected"),
        _("Somebody changed something there by hand. Nothing changed here; the details say what to do."),
    ),
    "airflow-not-configured": Words(
        _("This installation has no Airflow"),
        _("Trainings can be started with the command line, or after an admin has set Airflow's address and account."),
    ),
    "airflow-unavailable": Words(
        _("Airflow does not answer"),
        _("Nothing was started. Look whether Airflow runs, then try again."),
    ),
    "airflow-refused": Words(
        _("Airflow refuses this"),
        _("Nothing was started. The details say what Airflow answered."),
    ),
    "unknown-run": Words(_("There is no such run"), _("The list of models shows the latest ones.")),
    "no-approval": Words(
        _("Nothing waits for an answer here"),
        _("Somebody may have answered already, or the time for an answer is over."),
    ),
    "unknown-class": Words(
        _("Nobody has used this name yet"),
        _("Check its spelling: photos get the names that models or other photos have."),
    ),
    "same-class": Words(
        _("This is the name that you called wrong"),
        _("Choose another name, or say that the answer is right."),
    ),
    "unknown-batch": Words(
        _("There is no such batch"),
        _("The address may be mistyped or old."),
    ),
    "no-activation-map": Words(
        _("There is no picture of where the model looked"),
        _("This model draws none, or another one gave the answer."),
    ),
    "cross-site": Words(
        _("Another site sent this form"),
        _("Nothing was done. Open the page here, and fill it in yourself."),
    ),
    "forbidden": Words(
        _("This page is not for your account"),
        _("Ask an admin if you need it."),
    ),
    "unknown-image": Words(
        _("There is no such photo"),
        _("It was deleted, or it belongs to somebody else."),
    ),
    "unknown-prediction": Words(
        _("There is no such answer"),
        _("It was deleted, or it belongs to somebody else."),
    ),
    "not-found": Words(
        _("There is no such page"),
        _("The address may be mistyped or old."),
    ),
    "method-not-allowed": Words(
        _("This address does not work that way"),
        _("Go to the page that you came from, and try again there."),
    ),
}  # fmt: skip
_MISTAKE = Words(
    _("Something does not fit"),
    _("Look over what you sent, and try again."),
)
_FAULT = Words(
    _("The service has a fault"),
    _("Nothing you did caused this. Try again; if it happens again, tell an admin the number below."),
)
_FAILED = Words(
    _("The service failed at this photo"),
    _("Send it again. If that fails too, tell an admin."),
)
_UNAVAILABLE = Words(
    _("This does not work right now"),
    _("Try again in a few minutes."),
)


def words_of_kind(slug: str) -> Words:
    """Return the words for a kind of problem that a photo of a batch had."""
    return _BY_SLUG.get(slug, _FAILED)


def find_words(problem: ProblemError) -> Words:
    """Return the words for a problem."""
    words = _BY_SLUG.get(problem.slug)
    if words is not None:
        return words
    if problem.status < 500:
        return _MISTAKE
    return _FAULT if problem.status == 500 else _UNAVAILABLE
