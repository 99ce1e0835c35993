"""TCP ports on this machine: are they free, and which ones are."""

import socket
from collections.abc import Mapping
from contextlib import ExitStack

from ml.errors import SettingsError

HOST = "127.0.0.1"


def check_free(ports: Mapping[str, int]) -> None:
    """Refuse to start on a port that somebody else holds.

    Args: ports, the name of the setting to the port it names.
    Raises: SettingsError, naming each port that is taken and the setting that moves it.
    """
    taken = [f"port {port} is in use; set {name} to a free one" for name, port in ports.items() if not is_free(port)]
    if taken:
        raise SettingsError("Expected free ports on this machine:\n  " + "\n  ".join(taken))


def find_free_ports(count: int) -> list[int]:
    """Some ports that nobody holds right now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def is_free(port: int) -> bool:
    """Whether nobody holds a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT can be had
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
