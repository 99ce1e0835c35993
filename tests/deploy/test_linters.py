"""Compose specification, Dockerfiles, YAML, Caddyfile and Prometheus' files, each checked by its own tool."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

VENV = Path(sys.executable).parent
YAML_RULES = {
    "extends": "default",
    "rules": {
        "braces": {"max-spaces-inside": 0},
        "comments": {"min-spaces-from-content": 2},
        "document-start": "disable",
        "line-length": {"max": 120},
    },
}


def complaints(*command: str | Path, folder: Path) -> str:
    """What a program has against some files; nothing where it is content."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr} (exit status {done.returncode})"


def test_compose_file_follows_the_specification(root: Path) -> None:
    assert (
        complaints(
            VENV / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml", folder=root
        )
        == ""
    )


def test_dockerfiles_pass_hadolint(root: Path) -> None:
    assert complaints(VENV / "hadolint", *sorted((root / "docker").glob("*.Dockerfile")), folder=root) == ""


def test_yaml_files_pass_yamllint(root: Path) -> None:
    files = ["docker-compose.yml", "docker", "prometheus", "grafana"]
    assert complaints(VENV / "yamllint", "--strict", "-d", json.dumps(YAML_RULES), *files, folder=root) == ""


@pytest.mark.parametrize("script", ["docker/seaweedfs/start.sh"])
def test_shell_scripts_parse(root: Path, script: str) -> None:
    assert complaints("sh", "-n", script, folder=root) == ""


def test_prometheus_accepts_its_configuration(root: Path, program: Callable[[str, str], str]) -> None:
    assert (
        complaints(program("promtool", "prometheus"), "check", "config", "prometheus/prometheus.yml", folder=root) == ""
    )


def test_alertmanager_accepts_its_configuration(root: Path, program: Callable[[str, str], str]) -> None:
    assert (
        complaints(
            program("amtool", "prometheus-alertmanager"), "check-config", "prometheus/alertmanager.yml", folder=root
        )
        == ""
    )


def test_caddyfile_is_formatted(root: Path) -> None:
    caddy = VENV / "caddy"
    written = (root / "docker/Caddyfile").read_text()
    done = subprocess.run([caddy, "fmt", "docker/Caddyfile"], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout == written


def test_the_statsd_exporter_takes_every_pattern(root: Path) -> None:
    """Its rule, since no such program is packaged: a part of a pattern is a name or `*`, never a mixture."""
    patterns = yaml.safe_load((root / "docker/statsd-mapping.yml").read_text())["mappings"]
    globs = [mapping["match"] for mapping in patterns if mapping.get("match_type") != "regex"]
    part = r"(\*|[a-zA-Z_][a-zA-Z0-9_-]*)"
    assert [glob for glob in globs if not re.fullmatch(rf"{part}(\.{part})*", glob)] == []
