"""Review: the queues, decisions about their items, and undoing a decision."""

from flask import Response, jsonify

from ml.data.reviewing.deciding import decide, undo
from ml.data.reviewing.queue_reading import QueueFilter, read_batches, read_counts, read_queue, read_rejects
from webapi import application_state
from webapi.access.authentication import current_account, requires
from webapi.api.problem_answers import Problem, new_api
from webapi.api.review_models import (
    BatchesAnswer,
    BatchPath,
    DecisionsAnswer,
    DecisionsBody,
    QueueAnswer,
    QueuePath,
    QueueQuery,
    QueuesAnswer,
    RejectsAnswer,
    UndoAnswer,
    UndoBody,
    describe_conflicts,
    describe_entry,
)
from webapi.application_state import current_catalog
from webapi.problems import ProblemError

api = new_api("review", __name__, "review")


@api.get("/reviews", responses={200: QueuesAnswer})
@requires("expert")
def get_queues() -> Response:
    """Return the number of items in each review queue."""
    return jsonify(QueuesAnswer.model_validate(read_counts(current_catalog())).model_dump())


@api.get("/reviews/batches", responses={200: BatchesAnswer})
@requires("expert")
def get_batches() -> Response:
    """List the latest batches of the sources, those with waiting items first."""
    batches = [
        {**vars(each), "state": each.state, "rejected": each.counts.get("rejected", 0)}
        for each in read_batches(current_catalog())
    ]
    return jsonify(BatchesAnswer.model_validate({"batches": batches}).model_dump(mode="json"))


@api.get("/reviews/batches/<int:batch_id>/rejects", responses={200: RejectsAnswer, 404: Problem})
@requires("expert")
def get_rejects(path: BatchPath) -> Response:
    """List the rejected files of a batch, with the reasons."""
    found = read_rejects(current_catalog(), path.batch_id)
    return jsonify(rejects=[{"name": each.name, "reason": each.reason, "message": each.message} for each in found])


@api.get("/reviews/queues/<queue>", responses={200: QueueAnswer})
@requires("expert")
def get_queue(path: QueuePath, query: QueueQuery) -> Response:
    """Return a page of a review queue, what pays most first.

    `mispredicted`: somebody rejected the answer. `waiting`: items of sources that wait for a certificate. `uncertain`:
    predicted items, smallest margin first. `suspected`: labels that cross-fitted answers contradict surely. `disputed`:
    a sample of the uploads on which two models differ, without saying which model said what.
    """
    wanted = QueueFilter(path.queue, query.class_name, query.batch_id)
    page = read_queue(current_catalog(), wanted, query.limit, query.cursor)
    counts = [{"class_name": name, "count": count} for name, count in page.counts.items()]
    items = list(map(describe_entry, page.shown))
    answer = QueueAnswer.model_validate({"items": items, "counts": counts, "next_cursor": page.next_cursor})
    return jsonify(answer.model_dump(mode="json"))


@api.post("/reviews/decisions", responses={200: DecisionsAnswer, 404: Problem, 409: Problem})
@requires("expert")
def post_decisions(body: DecisionsBody) -> Response:
    """Certify, correct or reject items of a queue. Each decision names the state of the item that the reviewer saw.

    An item that somebody else decided about first keeps that decision, and the answer says who decided what.

    Raises: 409, that is so for all items; 404, an item does not exist.
    """
    service = application_state.current()
    decisions = [each.decision_of() for each in body.decisions]
    if len({each.item_id for each in decisions}) < len(decisions):
        raise ProblemError(422, "invalid-request", "decisions: expected one about each item, got several about one.")
    outcome = decide(current_catalog(), current_account(), decisions, service.settings.mirrored_views, service.reader)
    outcome.demand_any()
    decided = [{"item": item_id, "decision": number} for item_id, number in outcome.decided.items()]
    return jsonify(decided=decided, conflicts=describe_conflicts(outcome.conflicts))


@api.post("/reviews/undo", responses={200: UndoAnswer, 409: Problem})
@requires("expert")
def post_undo(body: UndoBody) -> Response:
    """Undo decisions of one's own, newest first: each item gets exactly its former state. Admins undo those of others.

    Raises: 409, all items were changed since; 403, another reviewer decided.
    """
    outcome = undo(current_catalog(), current_account(), body.ids)
    outcome.demand_any()
    return jsonify(undone=outcome.undone, conflicts=describe_conflicts(outcome.conflicts))
