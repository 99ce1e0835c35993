"""One stack per home folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.errors import SettingsError


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for the length of the block; the system lets it go when the process dies.

    Args:
        path: the lock file, created when missing.
        what: what runs while it is held, for the message.
    Raises: SettingsError, another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise SettingsError(
                f"{what} already runs on {path.parent} (process {holder}). Stop it with Ctrl-C or `kill {holder}`, "
                "or set MYCOFLOW_HOME to another folder."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
