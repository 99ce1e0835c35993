"""`mycoflow init`: write the .env of docker-compose.yml, with generated secrets."""

import base64
import os
import re
import secrets
from pathlib import Path
from typing import Annotated

import typer

from ml.cli.terminal import out
from ml.errors import SettingsError

init_app = typer.Typer()

_EXAMPLE, _FILE = Path(".env.example"), Path(".env")
_SECRET = re.compile(r"^(?!MYCOFLOW_GRAFANA_TOKEN=)(\w+(?:PASSWORD|SECRET|SECRET_KEY|JWT_SECRET))=$", re.MULTILINE)
_SECRET_BYTES = 32


@init_app.command()
def init(
    domain: Annotated[str, typer.Option(help="DNS name of the service; localhost for a trial.")] = "localhost",
    email: Annotated[str, typer.Option(help="Address to which Let's Encrypt writes.")] = "admin@localhost",
) -> None:
    """Write .env for docker-compose.yml, with generated secrets, readable by you alone. An existing .env stays."""
    if not _EXAMPLE.is_file():
        raise SettingsError(
            f"Expected {_EXAMPLE} in this folder, found none. Change into the folder with docker-compose.yml."
        )
    for name, value in (("--domain", domain), ("--email", email)):
        if not re.fullmatch(r"[\w.@+-]+", value, re.ASCII):
            raise SettingsError(f"{name}: expected letters, digits and any of .@+-, got {value!r}.")
    text = _fill(_EXAMPLE.read_text(encoding="utf-8"), domain, email)
    try:
        file = os.open(_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise SettingsError(
            f"Expected no {_FILE} in this folder, found one. It stays as it is: databases keep the passwords of their "
            "first start. Move it away to get new ones."
        ) from error
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        stream.write(text)
    out.print(f"{_FILE} is written, with new secrets. Keep it out of version control and of backups.")
    out.print("Next: `docker compose build`, then `docker compose up -d --wait`.")


def _fill(text: str, domain: str, email: str) -> str:
    """Return the variables with values where the first start needs one."""
    fernet = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    given = {"DOMAIN": domain, "ACME_EMAIL": email, "AIRFLOW_FERNET_KEY": fernet}
    for name, value in given.items():
        text = re.sub(rf"^{name}=$", f"{name}={value}", text, flags=re.MULTILINE)
    return _SECRET.sub(lambda found: f"{found[1]}={secrets.token_hex(_SECRET_BYTES)}", text)
