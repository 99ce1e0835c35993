"""docker-compose.yml as compose reads it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>[A-Z0-9_]+)(?P<rule>:-|:\?)?(?P<text>[^}]*)\}")


def interpolate(value: Any, variables: dict[str, str]) -> Any:
    """Fill in ${VAR}, ${VAR:-default} and ${VAR:?message} as compose does.

    Raises: ValueError, a demanded variable is missing or empty.
    """
    if isinstance(value, dict):
        return {key: interpolate(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, variables) for item in value]

    def fill(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        filled = variables.get(match["name"], "")
        if not filled and match["rule"] == ":?":
            raise ValueError(f"required variable {match['name']} is missing a value: {match['text']}")
        return filled or (match["text"] if match["rule"] == ":-" else "")

    return VARIABLE.sub(fill, value) if isinstance(value, str) else value


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def compose_text() -> str:
    """docker-compose.yml as written."""
    return (ROOT / "docker-compose.yml").read_text()


@pytest.fixture(scope="session")
def compose(compose_text: str) -> dict[str, Any]:
    """docker-compose.yml with its anchors resolved and its variables not."""
    loaded: dict[str, Any] = yaml.safe_load(compose_text)
    return loaded


@pytest.fixture(scope="session")
def documented() -> dict[str, str]:
    """The variables of .env.example."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value.strip("'") for name, value in pairs}


@pytest.fixture(scope="session")
def variables(documented: dict[str, str]) -> dict[str, str]:
    """A filled-in .env: characters that an address or a shell would trip over wherever that is promised to work."""
    secrets = {name: f"{name.lower()}-{index:04d}-secret" for index, name in enumerate(documented)}
    settings = dict.fromkeys(name for name in documented if not re.search("PASSWORD|SECRET|KEY|DOMAIN|ACME|USER", name))
    return {
        **secrets,
        **dict.fromkeys(settings, ""),
        "DOMAIN": "localhost",
        "ACME_EMAIL": "operator@example.org",
        "DATABASE_OWNER_PASSWORD": "own:er/p@ss%word",
        "AIRFLOW_FERNET_KEY": Fernet.generate_key().decode(),
        "MYCOFLOW_WEIGHTS": "random",
        "MYCOFLOW_IMAGE_SIZE": "32",
    }


@pytest.fixture(scope="session")
def interpolated() -> Callable[[Any, dict[str, str]], Any]:
    """The function that fills in variables."""
    return interpolate
