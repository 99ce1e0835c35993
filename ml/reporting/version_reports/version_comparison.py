"""Two model versions side by side, by their stored answers to the same items of the evaluation set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml.app import Workspace, remember_version
from ml.catalog.answers import Answer
from ml.catalog.logs.results import load_results
from ml.confidence.paired_scores import Groups, difference_p_value, holm, mean_gain
from ml.data.evaluation_sets import EvaluationItem, current_members, deciding_part, group_keys
from ml.evaluation.scoring import COLUMNS
from ml.tasks.task import Scores


@dataclass(frozen=True)
class ComparedClass:
    """One class's recall by both versions, 0 to 1. Args: p_value, of the difference, adjusted for all classes."""

    name: str
    image_count: int
    recalls: tuple[float, float]
    p_value: float


@dataclass(frozen=True)
class DifferingItem:
    """An item that the versions answer differently.

    Args:
        image_sha256: None for an item without a photo.
        class_names: what people say it is.
        answers: the class that each version names; None for no class.
        confidences, scores: of each version, 0 to 1.
    """

    item_id: str
    image_sha256: str | None
    class_names: Sequence[str]
    answers: tuple[str | None, str | None]
    confidences: tuple[float, float]
    scores: tuple[float, float]


@dataclass(frozen=True)
class ComparedVersions:
    """Two versions on the items of the evaluation set's deciding part that both know and have answered.

    Args:
        part: of the evaluation set.
        image_count, group_count: of the compared items; without any, the other fields are empty.
        unanswered: number of items of the part that each version knows and has not answered yet.
        figures: name -> value of each version; the main figure comes first.
        gain, error: how much better the first one is, from -1 to 1, and the standard error of this difference.
        p_value: the probability that equally good versions differ at least as much.
        differing: what they answer differently, first where only one of them is right.
    """

    versions: tuple[int, int]
    part: str | None
    image_count: int
    group_count: int
    unanswered: tuple[int, int]
    figures: Mapping[str, tuple[float, float]]
    gain: float
    error: float
    p_value: float
    classes: Sequence[ComparedClass]
    differing: Sequence[DifferingItem]


def compare_versions(workspace: Workspace, one: int, other: int) -> ComparedVersions:
    """Compare two versions by their stored answers. No model runs.

    Raises: UnknownVersionError, the registry has no such version; ModelLoadError, Mycoflow cannot read its files.
    """
    known = [remember_version(workspace, version).classes for version in (one, other)]
    with workspace.catalog.begin() as connection:
        members = current_members(connection)
        members = [each for each in members if any(each.annotation.is_known(classes) for classes in known)]
        part = deciding_part(members) if members else None
        members = [member for member in members if member.part == part]
        ids = [member.item_id for member in members]
        answers = [load_results(connection, version, ids) for version in (one, other)]
        groups_by_id = group_keys(connection, ids)
    first, second = (
        sum(member.item_id not in found for member in members if member.annotation.is_known(classes))
        for classes, found in zip(known, answers, strict=True)
    )
    compared = [
        member
        for member in members
        if all(
            member.annotation.is_known(classes) and member.item_id in found
            for classes, found in zip(known, answers, strict=True)
        )
    ]
    if not compared:
        return ComparedVersions((one, other), part, 0, 0, (first, second), {}, 0, 0, 1, (), ())
    groups = np.array([groups_by_id[member.item_id] for member in compared])
    pairs = [(answers[0][member.item_id], answers[1][member.item_id]) for member in compared]
    scores = [_score(workspace, compared, [pair[side] for pair in pairs]) for side in (0, 1)]
    gain, error = mean_gain(scores[0].items, scores[1].items, groups)
    return ComparedVersions(
        versions=(one, other),
        part=part,
        image_count=len(compared),
        group_count=len(set(groups)),
        unanswered=(first, second),
        figures=_measure(workspace, compared, pairs, known),
        gain=gain,
        error=error,
        p_value=difference_p_value(scores[0].items, scores[1].items, groups),
        classes=_compare_classes(scores[0], scores[1], groups),
        differing=_list_differing(compared, pairs, scores),
    )


def _score(workspace: Workspace, members: Sequence[EvaluationItem], answers: Sequence[Answer]) -> Scores:
    return workspace.task.score([member.annotation for member in members], answers)


def _measure(
    workspace: Workspace,
    members: Sequence[EvaluationItem],
    pairs: Sequence[tuple[Answer, Answer]],
    known: Sequence[Sequence[str]],
) -> dict[str, tuple[float, float]]:
    annotations = [member.annotation for member in members]
    one, other = (
        workspace.task.measure(annotations, [pair[side] for pair in pairs], known[side]).shares for side in (0, 1)
    )
    names = dict.fromkeys([workspace.task.main_figure, *COLUMNS])
    return {name: (one[name], other[name]) for name in names if name in one and name in other}


def _compare_classes(one: Scores, other: Scores, groups: Groups) -> list[ComparedClass]:
    names = sorted(one.classes)
    shown = [~np.isnan(one.classes[name]) for name in names]
    p_values = [
        difference_p_value(one.classes[name][images], other.classes[name][images], groups[images])
        for name, images in zip(names, shown, strict=True)
    ]
    return [
        ComparedClass(
            name,
            int(images.sum()),
            (float(np.nanmean(one.classes[name])), float(np.nanmean(other.classes[name]))),
            p_value,
        )
        for name, images, p_value in zip(names, shown, holm(p_values), strict=True)
    ]


def _list_differing(
    members: Sequence[EvaluationItem], pairs: Sequence[tuple[Answer, Answer]], scores: Sequence[Scores]
) -> list[DifferingItem]:
    found = [
        DifferingItem(
            member.item_id,
            member.image_sha256,
            member.annotation.class_names,
            (one.top_class, other.top_class),
            (one.confidence, other.confidence),
            (float(scores[0].items[number]), float(scores[1].items[number])),
        )
        for number, (member, (one, other)) in enumerate(zip(members, pairs, strict=True))
        if one.top_class != other.top_class or scores[0].items[number] != scores[1].items[number]
    ]
    return sorted(found, key=lambda each: (-abs(each.scores[0] - each.scores[1]), -max(each.confidences), each.item_id))
