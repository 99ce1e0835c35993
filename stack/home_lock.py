"""A lock file: only one stack may use a home folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.errors import SettingsError


@contextmanager
def exclusive(home: Path, what: str) -> Iterator[None]:
    """Lock a folder during the block. The operating system releases the lock when the process dies.

    Args:
        home: the folder to lock; the lock is the file `<what>.lock` in it.
        what: what runs under the lock, one word, for the message.
    Raises: SettingsError, another process holds the lock, or it cannot be written.
    """
    path = home / f"{what}.lock"
    try:
        home.mkdir(parents=True, exist_ok=True)
        opened = path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise SettingsError(
            f"Expected to write the lock {path}. Received: {error}. Move away what is there, or make it writable."
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise SettingsError(
                f"A {what} already runs on {home} (process {holder}). Stop it with Ctrl-C or `kill {holder}`, "
                "or set MYCOFLOW_HOME to another folder."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
