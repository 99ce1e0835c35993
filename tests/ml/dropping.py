"""Folders as a drop folder's source meets them a while after somebody filled them."""

import os
import time
from pathlib import Path

from ml.ingest.sources.drop_folder import SETTLED_SECONDS


def settle(folder: Path) -> Path:
    """Let files that were just written look as if that had been a while ago. The others keep their version."""
    for path in folder.rglob("*"):
        if path.is_file() and time.time() - path.stat().st_mtime < SETTLED_SECONDS:
            long_ago = time.time() - 2 * SETTLED_SECONDS
            os.utime(path, (long_ago, long_ago))
    return folder
