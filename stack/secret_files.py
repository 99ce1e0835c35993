"""Secrets of the stack on one machine: generated once, stored in files that only their owner can read."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from ml.errors import SettingsError

ADMIN = "admin"
SERVICE = "service"  # the prediction service's account in Airflow


@dataclass(frozen=True)
class AirflowSecrets:
    """The secrets that Airflow's processes share."""

    jwt_secret: str
    password_file: Path
    admin_password: str
    service_password: str


def airflow_secrets(airflow_home: Path) -> AirflowSecrets:
    """Read the secrets of an Airflow home, and generate those that do not exist yet.

    Raises: SettingsError, a file of them is damaged.
    """
    airflow_home.mkdir(parents=True, exist_ok=True)
    password_file = airflow_home / "passwords.json"
    passwords = _passwords(password_file)
    return AirflowSecrets(
        jwt_secret=_read_or_make(airflow_home / "jwt_secret", secrets.token_urlsafe(64)),
        password_file=password_file,
        admin_password=passwords[ADMIN],
        service_password=passwords[SERVICE],
    )


def _passwords(path: Path) -> dict[str, str]:
    new = {login: secrets.token_urlsafe(12) for login in (ADMIN, SERVICE)}
    text = _read_or_make(path, json.dumps(new))
    try:
        stored = json.loads(text)
    except ValueError:
        stored = None
    if not isinstance(stored, dict) or not all(isinstance(value, str) for value in stored.values()):
        raise _damaged(path, "JSON with a password for each login")
    if missing := new.keys() - stored.keys():  # the folder of an earlier version of Mycoflow
        stored |= {login: new[login] for login in missing}
        path.write_text(json.dumps(stored))
    return stored


def _read_or_make(path: Path, content: str) -> str:
    try:
        if not path.exists():
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(content)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, "a readable text file") from error
    if not text.strip():
        raise _damaged(path, "a secret")
    return text


def _damaged(path: Path, expected: str) -> SettingsError:
    return SettingsError(f"Expected {expected} in {path}, got something else. Delete it: the next start makes another.")
