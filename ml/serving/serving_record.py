"""Record in the database which version this process serves, for pages, commands and alerts."""

import os
import secrets
import socket
import time
from datetime import timedelta

from ml.catalog.models.served_versions import ServingState, forget_process, note_state
from ml.deadlines import Deadline
from ml.errors import MycoflowError
from ml.serving.lazy_catalog import Database

_REPEAT_SECONDS = 60.0
_ALIVE_SECONDS = 300.0  # longer than the download of a version, during which nothing is recorded
_STATEMENT_SECONDS = 2.0
_NEVER = float("-inf")


class ServingRecord:
    """Writes the state of this process when it changes, and once a minute. There is one per application.

    Args: poll_seconds, time between two calls of `write`.
    """

    def __init__(self, database: Database, poll_seconds: float) -> None:
        self._database = database
        self._alive_for = timedelta(seconds=_ALIVE_SECONDS + 2 * poll_seconds)
        self._process = ""
        self._written: ServingState | None = None
        self._written_at = _NEVER

    def write(self, state: ServingState) -> None:
        """Write the state if it is due. If the database does not answer, the next call tries again."""
        if state == self._written and time.monotonic() - self._written_at < _REPEAT_SECONDS:
            return
        self._process = self._process or _name_process()
        try:
            with self._database.catalog().until(Deadline(_STATEMENT_SECONDS)).begin() as connection:
                note_state(connection, self._process, state, self._alive_for)
        except MycoflowError:  # /readyz, the metrics and each request report this error
            return
        self._written, self._written_at = state, time.monotonic()

    def end(self) -> None:
        """Delete the row. If the database does not answer, the row expires in minutes."""
        if self._written is None:
            return
        try:
            with self._database.catalog().until(Deadline(_STATEMENT_SECONDS)).begin() as connection:
                forget_process(connection, self._process)
        except MycoflowError:
            return


def _name_process() -> str:
    """Return a unique name: a restarted container has the same host name and process id as before."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(2)}"
