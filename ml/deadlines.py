"""Deadlines: a limit on the total time of an operation with several steps."""

import time


class Deadline:
    """A point in time at which an operation must be finished.

    Args: seconds, from now until the deadline.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the seconds until the deadline; 0 after it."""
        return max(0.0, self._at - time.monotonic())

    def sooner(self, seconds: float) -> "Deadline":
        """Return the earlier of this deadline and one that is `seconds` from now."""
        return Deadline(min(seconds, self.remaining()))
