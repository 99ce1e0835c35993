"""Model versions: the list, one version, and two of them side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Response, flash, make_response, redirect, request, url_for
from flask_babel import gettext as _

from ml.errors import RegistryStateError, RegistryUnavailableError
from ml.evaluation.promotion import is_promotion_held
from ml.figures import words_of
from ml.reporting.inventory import list_models
from ml.reporting.version_reports.version_comparison import compare_versions
from ml.reporting.version_reports.version_details import list_confused, read_curves, read_reliability, read_version
from ml.reporting.version_reports.version_plots import draw_curves, draw_reliability
from webapi.application_state import current_workspace
from webapi.pages.form_pages import page_argument
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.model_choice.followed_runs import read_recent

pages = new_pages("versions", __name__)

_PAGE_SIZE = 24
_MOST_CLASSES = 30  # of a matrix; of more, the page lists the most frequent confusions only
_LARGEST_VERSION = 2**31 - 1


@dataclass(frozen=True)
class _Curve:
    """A figure of both folds over the epochs. Args: plot, a data URI; rows, (epoch, training, validation)."""

    name: str
    plot: str
    rows: list[tuple[int, float, float]]


@pages.get("/versions")
@page("admin")
def show_versions() -> Response:
    """List the registered versions, what is under way, and what waits for a person."""
    workspace = current_workspace()
    return respond(
        "versions/versions.html",
        models=list_models(workspace),
        is_held=is_promotion_held(workspace.catalog),
        figure=words_of(workspace.task.main_figure),
        recent=read_recent(),
    )


@pages.get("/versions/<int:version>")
@page("admin")
def show_version(version: int) -> Response:
    """Show what is known about one version."""
    workspace = current_workspace()
    details = read_version(workspace, _checked(version))
    curves, is_mlflow_down = [], False
    try:
        curves = _curves(read_curves(workspace, version))
    except (RegistryUnavailableError, RegistryStateError):
        is_mlflow_down = True
    reliability = read_reliability(workspace, version)
    return respond(
        "versions/version.html",
        details=details,
        summary=details.summary,
        figure=words_of(workspace.task.main_figure),
        curves=curves,
        is_mlflow_down=is_mlflow_down,
        reliability=reliability,
        reliability_plot=None if reliability is None else draw_reliability(reliability.bins),
        has_matrix=details.facts is not None and len(details.facts.classes) <= _MOST_CLASSES,
        champion=None if details.champion is None else details.champion.version,
    )


@pages.get("/versions/<int:version>/confused")
@page("admin")
def show_confused(version: int) -> Response:
    """Show the photos of one cell of a version's confusion matrix."""
    true_class, predicted_class = page_argument("true") or "", page_argument("predicted") or ""
    found = list_confused(current_workspace(), _checked(version), true_class, predicted_class)
    first = _first_shown(len(found))
    return respond(
        "versions/confused.html",
        version=version,
        true_class=true_class,
        predicted_class=predicted_class,
        count=len(found),
        shown=found[first : first + _PAGE_SIZE],
        following=first + _PAGE_SIZE if first + _PAGE_SIZE < len(found) else None,
    )


@pages.get("/versions/compare")
@page("admin")
def show_comparison() -> Response:
    """Show two versions side by side: the later one first."""
    chosen = sorted({int(each) for each in request.args.getlist("version") if _is_version(each)}, reverse=True)
    if len(chosen) != 2:
        flash(_("Choose two versions to compare."))
        return make_response(redirect(url_for("versions.show_versions"), 303))
    compared = compare_versions(current_workspace(), *chosen)
    first = _first_shown(len(compared.differing))
    return respond(
        "versions/comparison.html",
        compared=compared,
        main_figure=current_workspace().task.main_figure,
        words_of=words_of,
        first=first,
        shown=compared.differing[first : first + _PAGE_SIZE],
        following=first + _PAGE_SIZE if first + _PAGE_SIZE < len(compared.differing) else None,
    )


def _curves(values: Mapping[str, Sequence[float]]) -> list[_Curve]:
    pairs = {name: _of_validation(name) for name in values if _of_validation(name) in values}
    return [
        _Curve(
            words_of(name),
            draw_curves(values[name], values[validation], (_("training"), _("validation"))),
            [(epoch, *pair) for epoch, pair in enumerate(zip(values[name], values[validation], strict=False), 1)],
        )
        for name, validation in pairs.items()
    ]


def _of_validation(name: str) -> str:
    """Return the name of the same figure on the validation fold; `tail_` marks those of a fine-tuning."""
    return f"tail_val_{name.removeprefix('tail_')}" if name.startswith("tail_") else f"val_{name}"


def _first_shown(count: int) -> int:
    """Return the number, from 0, of the first photo that the page shows; 0 for a mistyped address."""
    text = page_argument("from") or ""
    first = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    return first if first < count else 0


def _is_version(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 11 and 1 <= int(text) <= _LARGEST_VERSION


def _checked(version: int) -> int:
    """Return a version that a database can hold; 0, which none has, for a larger one."""
    return version if version <= _LARGEST_VERSION else 0
