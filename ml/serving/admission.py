"""Admission control: limit how many predictions run at once, and how many requests are in each expensive step.

A server needs more threads than places, so that a thread is free to refuse requests and to answer /status.
"""

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from ml.backbones.cpus import usable_cpus
from ml.deadlines import Deadline
from ml.errors import AccountBusyError, BusyError

# One process decodes, with up to 400 MB.
_DECODED_AT_ONCE = 1
# A fetch holds a thread for 5 seconds at most.
_FETCHED_AT_ONCE = 8
_FETCHED_PER_ACCOUNT = 2
# An account may hold a third of the places, and at least two.
_SHARE = 3
_LEAST_PER_ACCOUNT = 2


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


class Places:
    """Places for requests, of which one account gets only a share, so that the others find some.

    Args: count, the number of places; per_account, the number that one account may hold.
    """

    def __init__(self, count: int, per_account: int) -> None:
        self.count = count
        self._per_account = per_account
        self._lock = threading.Lock()
        self._held: Counter[int | None] = Counter()
        self._left_at = float("-inf")

    @property
    def in_use(self) -> int:
        """Return the number of places in use."""
        return self._held.total()

    def is_quiet(self, seconds: float) -> bool:
        """Return whether nobody has held a place for some seconds."""
        return not self.in_use and time.monotonic() - self._left_at >= seconds

    @contextmanager
    def hold(self, account_id: int | None) -> Iterator[None]:
        """Hold a place for the duration of the block. Args: account_id, None for the service's own work.

        Raises: BusyError or AccountBusyError, immediately, if the service or the account has no place left.
        """
        with self._lock:
            if self.in_use >= self.count:
                raise BusyError("The service is making as many predictions as it can. Try again in a moment.")
            if account_id is not None and self._held[account_id] >= self._per_account:
                raise AccountBusyError(
                    f"Expected at most {self._per_account} such requests of an account at once, got more. Wait for the "
                    "answer to one of them."
                )
            self._held[account_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._left_at = time.monotonic()
                self._held[account_id] -= 1
                self._held += Counter()  # forgets accounts without a place


class Admission(Protocol):
    """What a prediction needs to be let in."""

    @property
    def decoding(self) -> ConcurrencyLimit:
        """Return the slots for decoding."""

    @property
    def computing(self) -> ConcurrencyLimit:
        """Return the slots for computing."""

    def admit(self, account_id: int | None = None) -> AbstractContextManager[None]:
        """Hold a place for a prediction during the block."""

    def fetch(self, account_id: int | None) -> AbstractContextManager[None]:
        """Hold a place for a fetch during the block."""


class AdmissionControl:
    """Limits the predictions in progress. There is one per process.

    A place is for a prediction that needs computation, including one that waits for a slot. A fetch has a place of
    another kind: it takes seconds if the host is slow, and needs little else.

    Args: places, the maximum number of predictions that need computation.
    """

    def __init__(self, places: int) -> None:
        self._predictions = Places(places, max(_LEAST_PER_ACCOUNT, places // _SHARE))
        self._fetches = Places(_FETCHED_AT_ONCE, _FETCHED_PER_ACCOUNT)
        self.decoding = ConcurrencyLimit(_DECODED_AT_ONCE)
        self.computing = ConcurrencyLimit(usable_cpus())

    @property
    def places(self) -> int:
        """Return the number of places for predictions."""
        return self._predictions.count

    @property
    def in_progress(self) -> int:
        """Return the number of these places in use."""
        return self._predictions.in_use

    def admit(self, account_id: int | None = None) -> AbstractContextManager[None]:
        """Hold a place for a prediction during the block; see `Places.hold`."""
        return self._predictions.hold(account_id)

    def fetch(self, account_id: int | None) -> AbstractContextManager[None]:
        """Hold a place for a fetch during the block; see `Places.hold`."""
        return self._fetches.hold(account_id)

    def is_quiet(self, seconds: float) -> bool:
        """Return whether no prediction has been in progress for some seconds."""
        return self._predictions.is_quiet(seconds)


@dataclass(frozen=True)
class BackgroundAdmission:
    """Lets one thread predict in the background. It takes no place from requests, and lets them go first.

    Args: shared, the admission of the requests; wait_for_requests, called before each prediction that is computed.
    """

    shared: AdmissionControl
    wait_for_requests: Callable[[], None]

    @property
    def decoding(self) -> ConcurrencyLimit:
        """Return the slots for decoding."""
        return self.shared.decoding

    @property
    def computing(self) -> ConcurrencyLimit:
        """Return the slots for computing."""
        return self.shared.computing

    def admit(self, _account_id: int | None = None) -> AbstractContextManager[None]:
        """Let the only thread in, after the requests that are under way."""
        self.wait_for_requests()
        return nullcontext()

    def fetch(self, _account_id: int | None) -> AbstractContextManager[None]:
        """Let the only thread fetch."""
        return nullcontext()
