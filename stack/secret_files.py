"""Secrets of the stack on one machine: made once, kept in files that only their owner reads."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

ADMIN = "admin"


@dataclass(frozen=True)
class AirflowSecrets:
    """What Airflow's processes share."""

    jwt_secret: str
    password_file: Path
    admin_password: str


def airflow_secrets(airflow_home: Path) -> AirflowSecrets:
    """Read the secrets of an Airflow home, and make those that are not there yet."""
    airflow_home.mkdir(parents=True, exist_ok=True)
    password_file = airflow_home / "passwords.json"
    passwords = _read_or_make(password_file, json.dumps({ADMIN: secrets.token_urlsafe(12)}))
    return AirflowSecrets(
        jwt_secret=_read_or_make(airflow_home / "jwt_secret", secrets.token_urlsafe(64)),
        password_file=password_file,
        admin_password=json.loads(passwords)[ADMIN],
    )


def _read_or_make(path: Path, content: str) -> str:
    if not path.exists():
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(content)
    return path.read_text()
