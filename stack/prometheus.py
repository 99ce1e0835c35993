"""Prometheus beside the stack, where its program is installed: the rules of production, the ports of this machine."""

import shutil
from pathlib import Path

import yaml

from stack.ports import HOST
from stack.settings import StackSettings

CONFIGURATION = Path(__file__).resolve().parent.parent / "prometheus" / "prometheus.yml"


def find_prometheus(settings: StackSettings) -> str | None:
    """Prometheus' program; None where it is not installed, or has nothing to read."""
    return shutil.which("prometheus") if settings.metrics_port else None


def prometheus_command(program: str, settings: StackSettings) -> tuple[str, ...]:
    """Write Prometheus' configuration under MYCOFLOW_HOME, and say how to start it on that."""
    folder = settings.mycoflow_home / "prometheus"
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "prometheus.yml"
    configuration.write_text(yaml.safe_dump(_configuration(settings), sort_keys=False))
    return (
        program,
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{settings.prometheus_port}",
    )


def _configuration(settings: StackSettings) -> dict[str, object]:
    """That of production, with what runs here in place of what runs there. There is no Alertmanager here."""
    production = yaml.safe_load(CONFIGURATION.read_text())
    ports = {"webapi": settings.metrics_port, "prometheus": settings.prometheus_port}
    return {
        "global": production["global"],
        "rule_files": [str(CONFIGURATION.parent / pattern) for pattern in production["rule_files"]],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{port}"]}]} for job, port in ports.items()
        ],
    }
