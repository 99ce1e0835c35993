"""What the README tells people to type must work."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ml.ingest.digits import write_digits
from ml.settings import Settings, variable

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def command_lines() -> list[str]:
    """Return the commands in the shell blocks of the README, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def newcomer(settings: Settings, mlflow_uri: str, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with photos as the README has them, of three kinds, and an environment of the test's own."""
    folders = write_digits(tmp_path / "digits")
    for digit in ("1", "2", "3"):
        shutil.copytree(folders.evaluation / digit, tmp_path / "photos/held-out" / digit)
        shutil.copytree(folders.first / digit, tmp_path / "photos/rest" / digit)
    shutil.copy(next((folders.later / "3").iterdir()), tmp_path / "photo.jpg")  # a PNG: the name does not matter
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/bin").symlink_to(Path(sys.executable).parent)
    database_url = settings.database_url
    assert database_url is not None
    environment = {
        **os.environ,
        "MYCOFLOW_HOME": str(settings.mycoflow_home),
        "DATABASE_URL": database_url.get_secret_value(),
        "MLFLOW_TRACKING_URI": mlflow_uri,
        "MYCOFLOW_WEIGHTS": "random",
        "MYCOFLOW_IMAGE_SIZE": "32",
        "MYCOFLOW_METRICS_PORT": "0",
    }
    return tmp_path, environment


def test_the_commands_for_ones_own_images_work_in_their_order(newcomer: tuple[Path, dict[str, str]]) -> None:
    folder, environment = newcomer
    commands = [line.split() for line in command_lines() if "mycoflow" in line]
    assert len(commands) == 6
    said = ""
    for command in commands[:-1]:
        answer = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            input="a long password\n",
            capture_output=True,
            check=True,
            text=True,
            timeout=240,
        )
        said += answer.stdout
    assert "(version 1)" in said
    assert commands[-1][1:] == ["serve"]


def test_the_service_of_the_readme_answers_and_stops(newcomer: tuple[Path, dict[str, str]], free_tcp_port: int) -> None:
    folder, environment = newcomer
    service = subprocess.Popen(
        [".venv/bin/mycoflow", "serve", "--port", str(free_tcp_port)],
        cwd=folder,
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert _answer(f"http://127.0.0.1:{free_tcp_port}/status") == b"true"
    finally:
        service.send_signal(signal.SIGINT)
        service.wait(60)


def test_the_make_targets_that_it_names_exist() -> None:
    named = set(re.findall(r"`?make ([a-z-]+)", README))
    assert {"demo", "test", "up", "help"} <= named
    for target in named:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_settings_table_has_every_default_right() -> None:
    defaults = {variable(name): field.default for name, field in Settings.model_fields.items()}
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", README, re.MULTILINE)
    checked = [
        name
        for name, shown in rows
        if isinstance(defaults.get(name), int | float | str) and "./" not in shown  # no paths, no secrets
    ]
    assert len(checked) >= 8
    for name, shown in rows:
        if name in checked:
            assert (str(defaults[name]).lower() or "none").rstrip("0") == shown.strip().rstrip("0"), name


def _answer(url: str) -> bytes:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return bytes(answer.read()).strip()
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
