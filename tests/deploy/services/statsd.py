"""What stands where Airflow sends its metrics: it notes their names, and hands them on to the real exporter."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread


@dataclass
class Statsd:
    """Args: names, of the metrics that came so far."""

    names: set[str] = field(default_factory=set)


@contextmanager
def listening(port: int, exporter_port: int) -> Iterator[Statsd]:
    """Listen for StatsD's datagrams, and pass each one on.

    Args: port, where Airflow sends to; exporter_port, where the exporter listens, if there is one.
    """
    statsd, stopping = Statsd(), Event()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as on,
    ):
        taken.bind(("127.0.0.1", port))
        taken.settimeout(0.5)

        def collect() -> None:
            while not stopping.is_set():
                with suppress(TimeoutError):
                    datagram = taken.recv(65536)
                    on.sendto(datagram, ("127.0.0.1", exporter_port))
                    statsd.names.update(line.split(":")[0] for line in datagram.decode().splitlines())

        collector = Thread(target=collect)
        collector.start()
        yield statsd
        stopping.set()
        collector.join()


@contextmanager
def running_exporter(mapping: Path, statsd_port: int, web_port: int) -> Iterator[bool]:
    """Run statsd_exporter, which no Debian package holds, for the length of the block. Returns: whether it is here."""
    program = shutil.which("statsd_exporter")
    if program is None:
        yield False
        return
    process = subprocess.Popen(
        [
            program,
            f"--statsd.mapping-config={mapping}",
            f"--statsd.listen-udp=127.0.0.1:{statsd_port}",
            f"--web.listen-address=127.0.0.1:{web_port}",
        ]
    )
    yield True
    process.terminate()
    process.wait()
