"""Store which labels of a training's snapshot its cross-fitted answers contradict, for review."""

import numpy as np

from ml.app import Workspace
from ml.catalog.models.attempts import Attempt
from ml.catalog.models.cross_fitted_answers import Suspicion, load_cross_fitted, mark_suspected
from ml.catalog.snapshots.stored_snapshots import load_snapshot
from ml.confidence.label_errors import find_label_errors


def find_suspected_labels(workspace: Workspace, attempt: Attempt) -> int:
    """Mark the suspected labels of an attempt, which then wait in the review queue. Safe to repeat.

    Returns: their number; 0 without cross-fitted answers, or where an item may have several classes.
    """
    with workspace.catalog.begin() as connection:
        snapshot = load_snapshot(connection, attempt.snapshot_id)
        answers = load_cross_fitted(connection, attempt.id)
    places = {name: place for place, name in enumerate(snapshot.classes)}
    known = [each for each in snapshot.items if each.item_id in answers and each.annotation.class_names[0] in places]
    if not workspace.task.is_exclusive or not known:
        return 0
    probabilities = np.stack([answers[each.item_id] for each in known])
    labels = np.array([places[each.annotation.class_names[0]] for each in known])
    suspicions = {
        known[each.row].item_id: Suspicion(snapshot.classes[each.suspected], each.doubt)
        for each in find_label_errors(probabilities, labels)
    }
    with workspace.catalog.begin() as connection:
        mark_suspected(connection, attempt.id, suspicions)
    return len(suspicions)
