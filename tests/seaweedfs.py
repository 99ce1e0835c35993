"""The real SeaweedFS, started by docker/seaweedfs/start.sh, with ports and folders of this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import requests
from botocore.config import Config

from stack.ports import find_free_ports

SCRIPT = Path(__file__).parents[1] / "docker/seaweedfs/start.sh"
WEED = Path(sys.executable).with_name("weed")
PORTS = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc")


@dataclass(frozen=True)
class SeaweedFS:
    """One that runs.

    Args: ports, by what listens there, one of PORTS; secrets, of the S3 identities by name.
    """

    process_id: int
    ports: dict[str, int]
    secrets: dict[str, str]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3']}"

    def client(self, name: str, secret: str | None = None) -> Any:
        """A client of S3 with the key of an identity, or with another secret."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=name,
            aws_secret_access_key=secret or self.secrets[name],
            config=Config(retries={"max_attempts": 1}),
        )


@contextmanager
def running_seaweedfs(folder: Path, secrets: dict[str, str]) -> Iterator[SeaweedFS]:
    """Start it, wait until S3 is healthy, and kill it at the end: nothing in it is kept.

    Args: folder, for what it writes; secrets, of the S3 identities admin, images and models.
    """
    ports = dict(zip(PORTS, find_free_ports(len(PORTS)), strict=True))
    (folder / "data").mkdir()
    (folder / "start.sh").write_text(
        SCRIPT.read_text().replace("/tmp/", f"{folder}/").replace("-dir=/data", f"-dir={folder}/data")
    )
    programs = folder / "programs"
    programs.mkdir()
    # The last of two equal options counts.
    options = [f"-{name.removesuffix('.grpc')}.port{'.grpc' * name.endswith('.grpc')}={ports[name]}" for name in PORTS]
    (programs / "weed").write_text(f'#!/bin/sh\nexec {WEED} "$@" {" ".join(options)}\n')
    (programs / "weed").chmod(0o755)
    environment = {f"S3_{name.upper()}_SECRET_KEY": secret for name, secret in secrets.items()}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", str(folder / "start.sh")],
            env={"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder), **environment},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            started = SeaweedFS(process.pid, ports, secrets)
            _wait(started, process, log)
            yield started
        finally:
            process.kill()
            process.wait()


def _wait(started: SeaweedFS, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        try:
            if requests.get(f"{started.endpoint}/healthz", timeout=10).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.2)
