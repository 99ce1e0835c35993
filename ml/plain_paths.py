"""Other names for paths that other programs misread: links with a plain path.

Airflow's configuration and MLflow's migrations take a percent sign in a path for a variable. They get a link instead.
"""

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from ml.errors import SettingsError

_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_LINKS = Path("/tmp")  # noqa: S108 - the folder in it is ours alone; a folder from TMPDIR may not be plain


def is_plain(path: Path) -> bool:
    """Return whether a path has only letters, digits and `_ - . /`, which mean the same to every program."""
    return _PLAIN.fullmatch(str(path)) is not None


def plain_path(path: Path) -> Path:
    """Return an absolute path, or a link to it if it is not plain. The link is the same at every call.

    Raises: SettingsError, another user made the folder for the links.
    """
    if is_plain(path):
        return path
    folder = _LINKS / f"mycoflow-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise SettingsError(f"Expected {folder} to be missing or a folder of ours. Another user made it: remove it.")
    link = folder / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    if not link.is_symlink() or link.readlink() != path:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / "link"
            made.symlink_to(path)
            made.replace(link)
    return link
