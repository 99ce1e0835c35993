"""Prometheus beside the stack, where its program is installed: the rules of production, the ports of this machine.

It is an extra: the stack runs without it where it is not installed, its port is taken, or it ends.
"""

import shutil
from pathlib import Path

import yaml
from rich.console import Console

from ml.settings import Settings
from stack.ports import HOST, is_free

CONFIGURATION = Path(__file__).resolve().parent.parent / "prometheus" / "prometheus.yml"


def find_prometheus(settings: Settings) -> str | None:
    """Prometheus' program; None where it is not installed, not wanted, or has nothing to read."""
    return shutil.which("prometheus") if settings.metrics_port and settings.prometheus_port else None


def drop_if_taken(settings: Settings, console: Console) -> Settings:
    """The settings; where somebody else holds Prometheus' port, that is said, and they are those of a stack without."""
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


def _configuration(settings: Settings) -> dict[str, object]:
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
