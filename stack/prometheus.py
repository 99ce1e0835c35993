"""Prometheus beside the stack, if its program is installed, with production's rules and this machine's ports.

It is optional: the stack runs without it if it is not installed, if its port is in use, or if it ends.
"""

import glob
import shutil
from pathlib import Path

import yaml
from rich.console import Console

from ml.settings import Settings
from stack.ports import HOST, is_free

CONFIGURATION = Path(__file__).resolve().parent.parent / "prometheus" / "prometheus.yml"


def find_prometheus(settings: Settings) -> str | None:
    """Return the path of Prometheus' program; None if it is not installed or a port is set to 0."""
    return shutil.which("prometheus") if settings.metrics_port and settings.prometheus_port else None


def drop_if_taken(settings: Settings, console: Console) -> Settings:
    """Return the settings. If another process uses Prometheus' port, print a warning and set the port to 0."""
    port = settings.prometheus_port
    if find_prometheus(settings) is None or is_free(port):
        return settings
    console.print(
        f"[bold yellow]Without Prometheus:[/] port {port} is in use. "
        "Set MYCOFLOW_PROMETHEUS_PORT to a free one, or to 0.",
        highlight=False,
        soft_wrap=True,
    )
    return settings.model_copy(update={"prometheus_port": 0})


def prometheus_command(program: str, settings: Settings) -> tuple[str, ...]:
    """Write Prometheus' configuration under MYCOFLOW_HOME, and return the command that starts Prometheus with it."""
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


def _configuration(settings: Settings) -> dict[str, object]:
    """Return production's configuration with the targets of this machine, and without Alertmanager."""
    production = yaml.safe_load(CONFIGURATION.read_text())
    ports = {"webapi": settings.metrics_port, "prometheus": settings.prometheus_port}
    return {
        "global": production["global"],
        "rule_files": [f"{glob.escape(str(CONFIGURATION.parent))}/{pattern}" for pattern in production["rule_files"]],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{port}"]}]} for job, port in ports.items()
        ],
    }
