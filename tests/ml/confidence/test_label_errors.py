"""Confident learning: labels that cross-fitted answers contradict surely."""

import numpy as np

from ml.confidence.label_errors import find_label_errors


def test_swapped_labels_are_found_and_hard_but_right_ones_are_not() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 100)
    logits = generator.normal(size=(300, 3)) + 3.5 * np.eye(3)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = truth.copy()
    swapped = generator.choice(300, 30, replace=False)
    labels[swapped] = (labels[swapped] + 1) % 3
    found = {each.row for each in find_label_errors(np.float32(probabilities), labels)}
    assert len(found & set(swapped.tolist())) >= 24
    assert len(found - set(swapped.tolist())) <= 8


def test_a_class_that_is_seldom_named_surely_has_a_lower_threshold() -> None:
    probabilities = np.float32([[0.9, 0.1], [0.9, 0.1], [0.45, 0.55], [0.45, 0.55], [0.4, 0.6], [0.52, 0.48]])
    labels = np.array([0, 0, 1, 1, 0, 0])
    assert [(each.row, each.suspected) for each in find_label_errors(probabilities, labels)] == [(4, 1)]


def test_the_surest_doubt_comes_first_and_a_class_without_labels_is_never_suspected() -> None:
    probabilities = np.float32([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]])
    labels = np.array([0, 0, 0, 0, 1])
    found = find_label_errors(probabilities, labels)
    assert [each.row for each in found] == [2, 1]
    assert found[0].doubt > found[1].doubt
