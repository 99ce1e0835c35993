"""TCP ports on this machine: check whether they are free, and find free ones."""

import socket
from collections.abc import Mapping
from contextlib import ExitStack

from ml.errors import SettingsError

HOST = "127.0.0.1"


def check_free(ports: Mapping[str, int]) -> None:
    """Check that no other process uses these ports.

    Args: ports, name of the setting -> its port.
    Raises: SettingsError, it names each port in use and the setting that changes it.
    """
    taken = [f"port {port} is in use; set {name} to a free one" for name, port in ports.items() if not is_free(port)]
    if taken:
        raise SettingsError("Expected free ports on this machine:\n  " + "\n  ".join(taken))


def find_free_ports(count: int) -> list[int]:
    """Return different ports that no process uses now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def is_free(port: int) -> bool:
    """Whether no process uses a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT counts as free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
