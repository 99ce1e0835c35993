"""Shares as the API writes them."""


def to_percent(share: float) -> float:
    """Turn a share between 0 and 1 into percent, two decimals."""
    return round(100 * share, 2)
