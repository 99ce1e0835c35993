"""What keeps a rush of requests from piling up: a bounded number under way, and few at once in each costly step.

A server's threads must be more than the places here, so that somebody is left to say no, and to answer /status.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ml.backbones.cpus import usable_cpus
from ml.deadlines import Deadline
from ml.errors import BusyError

# A picture of 50 megapixels takes seconds and about a gigabyte while it is decoded and written again.
_DECODED_AT_ONCE = 2
_FETCHED_AT_ONCE = 4


class ConcurrencyLimit:
    """A costly step of a request.

    Args: at_once, how many requests may be in it.
    """

    def __init__(self, at_once: int) -> None:
        self._slots = threading.Semaphore(at_once)

    @contextmanager
    def enter(self, deadline: Deadline) -> Iterator[None]:
        """Wait for one's turn, then take it for the length of the block.

        Raises: BusyError, the deadline came first.
        """
        if not self._slots.acquire(timeout=deadline.remaining()):
            raise BusyError("The service has more to do than it can in the time of a request. Try again.")
        try:
            yield
        finally:
            self._slots.release()


class AdmissionControl:
    """The predictions under way that cost something. One per process.

    Args: places, how many there may be, those that wait included.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self._lock = threading.Lock()
        self._in_progress = 0
        self.fetching = ConcurrencyLimit(_FETCHED_AT_ONCE)
        self.decoding = ConcurrencyLimit(_DECODED_AT_ONCE)
        self.computing = ConcurrencyLimit(usable_cpus())

    @property
    def in_progress(self) -> int:
        """How many places are taken."""
        return self._in_progress

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Take a place for the length of the block.

        Raises: BusyError, at once: all are taken.
        """
        with self._lock:
            if self._in_progress == self.places:
                raise BusyError("The service is making as many predictions as it can. Try again in a moment.")
            self._in_progress += 1
        try:
            yield
        finally:
            with self._lock:
                self._in_progress -= 1
