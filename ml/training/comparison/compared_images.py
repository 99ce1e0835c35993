"""The images of a comparison, and answers to each of them from a head that has not seen its group."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ml.app import Workspace, load_version
from ml.backbones.int8.parity import name_images
from ml.catalog.images.label_origins import HUMAN_ORIGINS
from ml.catalog.models.model_versions import find_model_version
from ml.catalog.snapshots.stored_snapshots import Snapshot, load_snapshot
from ml.confidence.cross_fitting import divide_by_group
from ml.data.evaluation_sets import current_members, group_keys
from ml.data.snapshot_rules import nightly_rules, preview_snapshot
from ml.errors import EvaluationSetError, SettingsError, SnapshotError

Names = NDArray[np.str_]


@dataclass(frozen=True)
class ComparedImages:
    """The human-labelled images of a snapshot, one class each.

    Args:
        snapshot: it also calibrates int8.
        is_stored: whether the catalog has the snapshot; if not, it is the one that a retraining would take now.
        sha256s: hashes of n images.
        labels: the class of each, (n,).
        groups: the group of each, (n,).
    """

    snapshot: Snapshot
    is_stored: bool
    sha256s: Sequence[str]
    labels: Names
    groups: Names

    @property
    def name(self) -> str:
        """Return a name of the snapshot for people."""
        return f"snapshot {self.snapshot.id}" if self.is_stored else "the newest images"

    @property
    def digest(self) -> str:
        """Return a hash of images and labels: comparisons with one digest may be compared."""
        return hashlib.sha256(repr([*zip(self.sha256s, self.labels.tolist(), strict=True)]).encode()).hexdigest()


def read_images(workspace: Workspace, snapshot_id: int | None, needs_evaluation_set: bool) -> ComparedImages:
    """Return the images of a stored snapshot, or those that a retraining would take now. Store nothing.

    Args:
        snapshot_id: None for the images that a retraining would take.
        needs_evaluation_set: whether int8 will be compared with fp32 on it.
    Raises: SnapshotError, there is no such snapshot, or its images cannot be compared; EvaluationSetError, the
        evaluation set is needed and has no image of the classes; MissingPartError, an item has no image; SettingsError,
        the task gives an image several classes.
    """
    if not workspace.task.is_exclusive:
        raise SettingsError(
            "Expected a task in which an image has one class: the comparison counts right answers. "
            f"Received: MYCOFLOW_TASK={workspace.task.name}."
        )
    classes = None if snapshot_id is not None else _champion_classes(workspace)
    with workspace.catalog.begin() as connection:
        if snapshot_id is None:
            snapshot = preview_snapshot(connection, nightly_rules(workspace.settings), classes)
        else:
            snapshot = load_snapshot(connection, snapshot_id)
        if needs_evaluation_set:
            _demand_evaluation_set(connection, snapshot)
        labelled = [item for item in snapshot.items if item.label_origin in HUMAN_ORIGINS]
        groups = group_keys(connection, [item.item_id for item in labelled])
    images = ComparedImages(
        snapshot,
        snapshot_id is not None,
        [item.demand_image() for item in labelled],
        np.array([item.annotation.label for item in labelled], np.str_),
        np.array([groups[item.item_id] for item in labelled], np.str_),
    )
    _demand_comparable(images)
    return images


def name_out_of_group(features: NDArray[np.float32], images: ComparedImages) -> Names:
    """Let a logistic regression name each image that it was not fitted on: no group is in both parts of a fold.

    Args: features, float32 (views, n, feature count); the first view is the unchanged image.
    Returns: (n,).
    """
    _, labels = np.unique(images.labels, return_inverse=True)
    names = np.zeros_like(images.labels)  # empty where no division answers
    for division in divide_by_group(labels, images.groups.tolist()):
        shown = [{str(label)} for _ in features for label in images.labels[division.fitted]]
        seen = np.concatenate(features[:, division.fitted])
        names[division.answered] = name_images(seen, shown, features[0, division.answered])
    return names


def _champion_classes(workspace: Workspace) -> Sequence[str] | None:
    """Return the classes of the model in production, which a retraining keeps; None without a model."""
    champion = workspace.registry.champion()
    if champion is None:
        return None
    with workspace.catalog.begin() as connection:
        known = find_model_version(connection, champion)
    return known.classes if known is not None else load_version(workspace, champion).card.classes


def _demand_evaluation_set(connection: sa.Connection, snapshot: Snapshot) -> None:
    if not any(member.annotation.is_known(snapshot.classes) for member in current_members(connection)):
        raise EvaluationSetError(
            f"Expected images of the classes {', '.join(map(repr, snapshot.classes))} in the evaluation set, on which "
            "int8 is compared with fp32. Found none. Ingest some with `mycoflow ingest DIR --split evaluation`, or "
            "compare fp32 only."
        )


def _demand_comparable(images: ComparedImages) -> None:
    classes = sorted(set(images.labels.tolist()))
    if len(classes) < 2 or len(set(images.groups.tolist())) < 2:
        raise SnapshotError(
            "Expected images of at least two classes and two groups that people labelled. "
            f"Received in {images.name}: {len(images.labels)} images of {', '.join(map(repr, classes)) or 'no class'}. "
            "Ingest more with `mycoflow ingest DIR --split pool`, or take another snapshot."
        )
