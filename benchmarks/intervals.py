"""How sure an accuracy is."""

from scipy.stats import binomtest


def accuracy_figures(name: str, correct: int, count: int) -> dict[str, float]:
    """An accuracy with its 95 % Wilson interval, as they stand in the report.

    Args: name, the figures begin with it; correct of count images are named right.
    """
    interval = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    return {
        f"{name}_accuracy": correct / count,
        f"{name}_accuracy_low": float(interval.low),
        f"{name}_accuracy_high": float(interval.high),
    }
