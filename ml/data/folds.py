"""Train or validation: which fold of a snapshot a group falls into."""

import hashlib


def fold_of(group_key: str, validation_ratio: float) -> str:
    """The fold of a group: a function of its hash alone, so that no image ever changes sides.

    A group never divides, and an image's neighbours or the day do not matter.
    """
    digest = hashlib.sha256(group_key.encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return "validation" if position < validation_ratio else "train"
