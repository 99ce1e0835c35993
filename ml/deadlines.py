"""How long something may take in all, however many steps it has."""

import time


class Deadline:
    """A moment in the future.

    Args: seconds, from now.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds until then; 0 afterwards."""
        return max(0.0, self._at - time.monotonic())

    def sooner(self, seconds: float) -> "Deadline":
        """This one, or one that many seconds from now if that comes first."""
        return Deadline(min(seconds, self.remaining()))
