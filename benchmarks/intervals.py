"""Confidence intervals of accuracies."""

from ml.confidence.estimation import observed_accuracy


def accuracy_figures(name: str, correct: int, count: int) -> dict[str, float]:
    """Return an accuracy and its 95 % Wilson interval, with their names in the report.

    Args: name, prefix of the figures' names; correct, number of right answers among count images.
    """
    found = observed_accuracy(correct, count)
    if found is None:
        raise ValueError("Expected answers to one image or more. Received: none.")
    return {f"{name}_accuracy": found.share, f"{name}_accuracy_low": found.low, f"{name}_accuracy_high": found.high}
