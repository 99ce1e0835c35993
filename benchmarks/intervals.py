"""Confidence intervals of accuracies."""

from scipy.stats import binomtest


def accuracy_figures(name: str, correct: int, count: int) -> dict[str, float]:
    """Return an accuracy and its 95 % Wilson interval, with their names in the report.

    Args: name, prefix of the figures' names; correct, number of right answers among count images.
    """
    interval = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    return {
        f"{name}_accuracy": correct / count,
        f"{name}_accuracy_low": float(interval.low),
        f"{name}_accuracy_high": float(interval.high),
    }
