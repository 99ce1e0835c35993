"""One stack per home folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml.errors import SettingsError


@contextmanager
def exclusive(home: Path, what: str) -> Iterator[None]:
    """Hold a lock file for the length of the block; the system lets it go when the process dies.

    Args:
        home: the folder that is locked, by a file in it: `<what>.lock`.
        what: what runs while it is held, one word, for the message.
    Raises: SettingsError, another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / f"{what}.lock").open("a+") as file:
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
