"""Choose the version in production: promote, roll back, release, and answer an approval that waits."""

from flask import Response, flash, make_response, redirect, url_for
from flask_babel import gettext as _

from ml.evaluation import promotion
from ml.figures import words_of
from ml.reporting.version_reports.version_details import find_summaries
from webapi import application_state
from webapi.access.authentication import current_actor
from webapi.application_state import current_workspace
from webapi.pages.page_blueprints import new_pages, page
from webapi.pages.page_responses import respond
from webapi.pages.page_views.model_choice.followed_runs import answer_approval, describe_option, find_approval

pages = new_pages("promotion", __name__)

_REASON = "chosen on the page of versions"


@pages.get("/versions/<int:version>/promote")
@page("admin")
def ask_to_promote(version: int) -> Response:
    """Ask whether a version shall go into production."""
    workspace = current_workspace()
    summary, champion = find_summaries(workspace, version)
    return respond(
        "versions/promote.html",
        summary=summary,
        champion=champion,
        figure=words_of(workspace.task.main_figure),
    )


@pages.post("/versions/<int:version>/promote")
@page("admin")
def promote(version: int) -> Response:
    """Put a version into production. One that does not load is refused."""
    promotion.promote_by_hand(current_workspace(), version, actor=current_actor(), reason=_REASON)
    application_state.current().models.poll_now()
    flash(_("Version %(version)s is in production. The service serves it within seconds.", version=version))
    return make_response(redirect(url_for("versions.show_versions"), 303))


@pages.get("/versions/rollback")
@page("admin")
def ask_to_roll_back() -> Response:
    """Ask whether the former version shall go back into production."""
    return respond("versions/rollback.html", before=promotion.find_version_before(current_workspace()))


@pages.post("/versions/rollback")
@page("admin")
def roll_back() -> Response:
    """Put the former version back into production, and hold automatic promotion."""
    version = promotion.roll_back(current_workspace(), actor=current_actor(), reason=_REASON)
    application_state.current().models.poll_now()
    flash(_("Version %(version)s is in production again. Automatic promotion is held.", version=version))
    return make_response(redirect(url_for("versions.show_versions"), 303))


@pages.get("/versions/release")
@page("admin")
def ask_to_release() -> Response:
    """Ask whether automatic promotion shall be allowed again."""
    return respond("versions/release.html", is_held=promotion.is_promotion_held(current_workspace().catalog))


@pages.post("/versions/release")
@page("admin")
def release() -> Response:
    """Allow automatic promotion again."""
    promotion.release_promotion(current_workspace(), actor=current_actor(), reason=_REASON)
    flash(_("Automatic promotion is on again."))
    return make_response(redirect(url_for("versions.show_versions"), 303))


@pages.get("/approvals")
@page("admin")
def show_approval() -> Response:
    """Show a question of a training that waits for a person, with the gate's verdict."""
    return respond(
        "versions/approval.html",
        waiting=find_approval(),
        describe_option=describe_option,
        figure=words_of(current_workspace().task.main_figure),
    )


@pages.post("/approvals")
@page("admin")
def decide() -> Response:
    """Answer the question. The run in Airflow goes on with the answer."""
    run = answer_approval()
    flash(_("Thank you. The training goes on with your answer."))
    return make_response(redirect(url_for("training.show_run", dag_id=run.dag_id, run=run.dag_run_id), 303))
