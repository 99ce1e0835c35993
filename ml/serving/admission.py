"""Admission control: limit how many predictions run at once, and how many requests are in each expensive step.

A server needs more threads than places, so that a thread is free to refuse requests and to answer /status.
"""

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
    """A limit on the number of requests in an expensive step.

    Args: at_once, the maximum number.
    """

    def __init__(self, at_once: int) -> None:
        self._slots = threading.Semaphore(at_once)

    @contextmanager
    def enter(self, deadline: Deadline) -> Iterator[None]:
        """Wait for a slot, and hold it for the duration of the block.

        Raises: BusyError, no slot was free before the deadline.
        """
        if not self._slots.acquire(timeout=deadline.remaining()):
            raise BusyError("The service is too busy to finish this request in time. Try again.")
        try:
            yield
        finally:
            self._slots.release()


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
