"""Admission control: limit how many predictions run at once, and how many requests are in each expensive step.

A server needs more threads than places, so that a thread is free to refuse requests and to answer /status.
"""

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ml.backbones.cpus import usable_cpus
from ml.deadlines import Deadline
from ml.errors import BusyError

# One process decodes, with up to 400 MB.
_DECODED_AT_ONCE = 1
_FETCHED_AT_ONCE = 4


class ConcurrencyLimit:
    """A limit on the number of requests in an expensive step. The shortest work goes first, then who came first.

    Args: at_once, the maximum number.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int]] = []  # a heap of tickets
        self._numbers = itertools.count()

    @contextmanager
    def enter(self, deadline: Deadline, seconds: float = 0.0) -> Iterator[None]:
        """Wait for a slot, and hold it for the duration of the block.

        Args: seconds, about how long the work takes.
        Raises: BusyError, no slot was free before the deadline.
        """
        self._acquire(deadline, seconds)
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _acquire(self, deadline: Deadline, seconds: float) -> None:
        with self._changed:
            ticket = (seconds, next(self._numbers))
            heapq.heappush(self._waiting, ticket)
            is_next = self._changed.wait_for(lambda: self._free and self._waiting[0] == ticket, deadline.remaining())
            self._waiting.remove(ticket)
            heapq.heapify(self._waiting)
            self._changed.notify_all()  # another one is the next now
            if not is_next:
                raise BusyError("The service is too busy to finish this request in time. Try again.")
            self._free -= 1


class AdmissionControl:
    """Limits the predictions in progress that need computation. There is one per process.

    Args: places, the maximum number, including predictions that wait for a slot.
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
        """Return the number of places in use."""
        return self._in_progress

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Hold a place for the duration of the block.

        Raises: BusyError, immediately, if no place is free.
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
