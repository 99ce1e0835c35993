"""One bucket of each kind, on a server that really listens."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import boto3
import pytest
import requests
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer

from ml.settings import Settings
from stack.ports import find_free_ports

AZURE_NAME = "devstoreaccount1"
# The key of every Azurite, which its documentation names.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Bucket:
    """An empty bucket, and the account `lab` that may read it. Only S3 has an archive, which hands nothing out."""

    kind: str
    name: str
    account: dict[str, Any]
    put: Callable[[str, bytes], None]
    delete: Callable[[str], None]
    archive: Callable[[str], None] = lambda _: None

    def url(self, prefix: str = "", name: str | None = None) -> str:
        return f"{self.kind}://{name or self.name}/{prefix}?account=lab"

    def settings(self, **changed: Any) -> Settings:
        return with_accounts(lab=self.account | changed)

    def upload(self, folder: Path, prefix: str) -> str:
        for file in folder.rglob("*"):
            if file.is_file():
                self.put(f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return self.url(prefix)


def with_accounts(**accounts: dict[str, Any]) -> Settings:
    return Settings(ingest_accounts=json.dumps(accounts))  # type: ignore[arg-type]


@contextmanager
def s3_bucket() -> Iterator[Bucket]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    account = {"endpoint": f"http://{host}:{port}", "access_key_id": "test", "secret_access_key": "s3cret"}
    client = boto3.client(
        "s3",
        endpoint_url=account["endpoint"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="s3cret",
    )
    name = f"arrivals-{uuid4().hex}"  # moto keeps buckets for the life of the process, and ports come again
    client.create_bucket(Bucket=name)
    yield Bucket(
        "s3",
        name,
        {"kind": "s3"} | account,
        put=lambda key, content: client.put_object(Bucket=name, Key=key, Body=content),
        delete=lambda key: client.delete_object(Bucket=name, Key=key),
        archive=lambda key: client.copy_object(
            Bucket=name, Key=key, CopySource=f"{name}/{key}", StorageClass="GLACIER"
        ),
    )
    server.stop()


@contextmanager
def google_bucket(folder: Path) -> Iterator[Bucket]:
    """The emulator checks no token; a server of tokens gives them for the account's key."""
    (port,) = find_free_ports(1)
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="arrivals")
    server.start()
    endpoint = f"http://127.0.0.1:{port}"

    def put(key: str, content: bytes) -> None:
        query = urlencode({"uploadType": "media", "name": key})
        url, headers = f"{endpoint}/upload/storage/v1/b/arrivals/o?{query}", {"content-type": "image/png"}
        requests.post(url, content, headers=headers, timeout=10).raise_for_status()

    def delete(key: str) -> None:
        requests.delete(f"{endpoint}/storage/v1/b/arrivals/o/{quote(key, safe='')}", timeout=10).raise_for_status()

    with token_server(200) as token_url:
        account = {"kind": "gs", "credential": google_credential(token_url, folder), "endpoint": endpoint}
        yield Bucket("gs", "arrivals", account, put, delete)
    server.stop()


def google_credential(token_url: str, folder: Path) -> dict[str, Any]:
    """A key file for workload identity federation: another one names Google's own server of tokens."""
    (folder / "subject-token").write_text("s3cret")
    return {
        "type": "external_account",
        "audience": "//iam.googleapis.com/lab",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": token_url,
        "credential_source": {"file": str(folder / "subject-token"), "format": {"type": "text"}},
    }


@contextmanager
def token_server(status: int) -> Iterator[str]:
    """A server of Google's tokens, which gives one for `s3cret` if the status is 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["content-length"]))
            answer = json.dumps({"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}).encode()
            self.send_response(status if b"subject_token=s3cret" in asked else 400)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()


@contextmanager
def running_azurite(folder: Path) -> Iterator[str]:
    """Azure's emulator, by the address of its one account; nothing in it is kept."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("NOT CHECKED: Azure's emulator is not installed; run `npm install --global azurite`")
    (port,) = find_free_ports(1)
    endpoint = f"http://127.0.0.1:{port}/{AZURE_NAME}"
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    with (folder / "azurite.log").open("wb") as log:
        process = subprocess.Popen([program, "--blobPort", str(port), *options], cwd=folder, stdout=log, stderr=log)
        try:
            _wait(process, endpoint, folder / "azurite.log")
            yield endpoint
        finally:
            process.kill()
            process.wait()


def azure_bucket(endpoint: str) -> Bucket:
    token, name = azure_token("rwdlc"), f"arrivals-{uuid4().hex}"

    def call(method: str, path: str, query: str = "", content: bytes = b"", **headers: str) -> None:
        url = f"{endpoint}/{name}{path}?{query}{token}"
        requests.request(method, url, data=content, headers=headers, timeout=10).raise_for_status()

    call("PUT", "", "restype=container&")
    return Bucket(
        "az",
        name,
        {"kind": "az", "account_name": AZURE_NAME, "account_key": AZURE_KEY, "endpoint": endpoint},
        put=lambda key, content: call("PUT", f"/{quote(key)}", "", content, **{"x-ms-blob-type": "BlockBlob"}),
        delete=lambda key: call("DELETE", f"/{quote(key)}"),
    )


def azure_token(permissions: str) -> str:
    """A shared access signature of the whole account.

    Source: learn.microsoft.com/rest/api/storageservices/create-account-sas.
    """
    version, until, protocol = "2020-08-04", "2099-01-01T00:00:00Z", "https,http"
    signed = f"{AZURE_NAME}\n{permissions}\nb\nsco\n\n{until}\n\n{protocol}\n{version}\n"
    signature = base64.b64encode(hmac.digest(base64.b64decode(AZURE_KEY), signed.encode(), hashlib.sha256)).decode()
    asked = {"sv": version, "ss": "b", "srt": "sco", "sp": permissions, "se": until, "spr": protocol}
    return urlencode(asked | {"sig": signature})


def _wait(process: "subprocess.Popen[bytes]", endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        try:
            requests.get(endpoint, timeout=10)
            return
        except requests.ConnectionError:
            time.sleep(0.2)
