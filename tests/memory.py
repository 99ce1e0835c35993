"""Where the tests keep what is written and read all the time."""

import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
NEEDED_BYTES = 4 * 2**30


def memory_folder() -> Path | None:
    """A folder in memory for whole databases: on a disk, copying one for each test takes most of a test's time.

    None where there is no such folder or it is small, as a container's is; they then go where temporary files go.
    """
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > NEEDED_BYTES
    return MEMORY if has_room else None
