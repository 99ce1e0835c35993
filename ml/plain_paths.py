"""Other names for paths that other programs misread: links with a plain path.

Airflow's configuration and MLflow's migrations take a percent sign in a path for a variable. They get a link instead.
"""

import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from ml.errors import SettingsError

_PLAIN = re.compile(r"[\w./-]+", re.ASCII)
_LINKS = Path("/tmp")  # noqa: S108 - the folder in it is ours alone; a folder from TMPDIR may not be plain


def is_plain(path: Path) -> bool:
    """Return whether a path has only letters, digits and `_ - . /`, which mean the same to every program."""
    return _PLAIN.fullmatch(str(path)) is not None


def make_own_folder(folder: Path, owner: int | None = None) -> None:
    """Make a folder that only we may enter, at a place where others may make files too, such as /tmp.

    Args: owner, id of the user who gets the folder; None for the user of this process.
    Raises: SettingsError, as `demand_own_folder`.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    owner = os.geteuid() if owner is None else owner
    demand_own_folder(folder, owner)
    if owner != os.geteuid():
        os.chown(folder, owner, -1)  # only root comes here
    folder.chmod(0o700)


def demand_own_folder(folder: Path, owner: int) -> None:
    """Refuse a folder that neither we nor its owner made, and a link or a file in its place.

    Raises: SettingsError.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), owner):
        raise SettingsError(f"Expected {folder} to be missing or a folder of ours. Another user made it: remove it.")


def plain_path(path: Path) -> Path:
    """Return an absolute path, or a link to it if it is not plain. The link is the same at every call.

    Raises: SettingsError, another user made the folder for the links.
    """
    if is_plain(path):
        return path
    folder = _LINKS / f"mycoflow-{os.geteuid()}"
    make_own_folder(folder)
    link = folder / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    if not link.is_symlink() or link.readlink() != path:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / "link"
            made.symlink_to(path)
            made.replace(link)
    return link
