"""A real Prometheus, with a client of its HTTP API."""

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from stack.ports import HOST, find_free_ports

PATIENCE_SECONDS = 120.0


class Prometheus:
    """A running Prometheus. Args: url, its address."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=60)

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return self._client.get("/-/ready").is_success
        except httpx.HTTPError:
            return False

    def get(self, path: str, **parameters: str | float) -> Any:
        """Return the data of an answer of the API. Source: Prometheus' documentation, "HTTP API"."""
        answer = self._client.get(f"/api/v1/{path}", params=parameters)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def values(self, query: str) -> list[float]:
        """Return the result of an instant query."""
        return [float(sample["value"][1]) for sample in self.get("query", query=query)["result"]]

    def targets(self) -> dict[str, str]:
        """Return the scraped address of each job."""
        return {target["labels"]["job"]: target["scrapeUrl"] for target in self.get("targets")["activeTargets"]}

    def alerts(self) -> dict[str, str]:
        """Return the active alerts, each with its state: pending or firing."""
        return {alert["labels"]["alertname"]: alert["state"] for alert in self.get("alerts")["alerts"]}

    def close(self) -> None:
        self._client.close()


@contextmanager
def running_prometheus(command: Sequence[str], port: int, log: Path) -> Iterator[Prometheus]:
    """Run Prometheus during the block.

    Args: command, that makes it listen on the port; log, the file that gets its output.
    """
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        assert eventually(lambda: prometheus.is_ready() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        process.wait()


@contextmanager
def prometheus_on(
    program: str, ports: Mapping[str, int], folder: Path, rule_files: Sequence[Path] = ()
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes every second.

    Args: ports, by the name of the job that reads there; folder, empty.
    """
    jobs = [{"job_name": job, "static_configs": [{"targets": [f"{HOST}:{port}"]}]} for job, port in ports.items()]
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": list(map(str, rule_files)),
        "scrape_configs": jobs,
    }
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration))
    (port,) = find_free_ports(1)
    command = [program, f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    command.append(f"--web.listen-address={HOST}:{port}")
    with running_prometheus(command, port, folder / "log") as running:
        yield running


def eventually(is_so: Callable[[], bool]) -> bool:
    """Wait until something becomes true. Returns: whether it did, within PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
