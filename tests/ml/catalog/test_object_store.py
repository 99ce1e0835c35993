"""Both stores keep the same promises; a full disk leaves nothing behind."""

import errno
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ml.catalog.object_store import FolderStore, ObjectStore, S3Store, backbone_key, image_key, open_object_store
from ml.errors import ImageStoreError, SettingsError
from ml.settings import Settings

KEY = image_key("ab" * 32)


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_environment(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return open_object_store(Settings(mycoflow_home=tmp_path))
    request.getfixturevalue("s3_environment")
    boto3.client("s3").create_bucket(Bucket="mycoflow")
    return open_object_store(Settings(mycoflow_home=tmp_path, image_store=f"s3://mycoflow/{tmp_path.name}"))


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_is_put_is_got(store: ObjectStore) -> None:
    store.put(KEY, b"bytes")
    assert store.exists(KEY)
    assert store.get(KEY) == b"bytes"


def test_a_file_is_put_whole_and_read_in_any_order(store: ObjectStore, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file:
        file.write(bytes(3_000_000) + b"the end")
        store.put_file("archives/1.zip", file)  # from its start, wherever it was read to
    facts = store.stat("archives/1.zip")
    assert facts is not None
    assert facts.byte_count == 3_000_007
    with store.open("archives/1.zip", tmp_path / "scratch") as stored:
        stored.seek(3_000_000)
        assert stored.read() == b"the end"
        stored.seek(0)
        assert stored.read(3) == bytes(3)
    assert not (tmp_path / "scratch").exists() or list((tmp_path / "scratch").iterdir()) == []
    with pytest.raises(ImageStoreError, match=r"archives/2\.zip"):
        store.open("archives/2.zip", tmp_path / "scratch")


def test_putting_again_replaces(store: ObjectStore) -> None:
    store.put(KEY, b"old")
    store.put(KEY, b"new")
    assert store.get(KEY) == b"new"


def test_a_missing_object_is_an_error_that_names_it(store: ObjectStore) -> None:
    assert not store.exists(KEY)
    with pytest.raises(ImageStoreError, match=KEY):
        store.get(KEY)


def test_deleting_twice_is_deleting_once(store: ObjectStore) -> None:
    store.put(KEY, b"bytes")
    store.delete(KEY)
    store.delete(KEY)
    assert not store.exists(KEY)


def test_size_and_age_are_told_without_reading(store: ObjectStore) -> None:
    assert store.stat(KEY) is None
    store.put(KEY, b"bytes")
    facts = store.stat(KEY)
    assert facts is not None
    assert facts.byte_count == 5
    assert abs(datetime.now(UTC) - facts.written_at) < timedelta(minutes=1)


def test_threads_may_share_a_store(store: ObjectStore) -> None:
    keys = [backbone_key(str(number)) for number in range(20)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: store.put(key, key.encode()), keys))
        assert list(threads.map(store.get, keys)) == [key.encode() for key in keys]


def test_opening_a_store_creates_nothing(tmp_path: Path) -> None:
    open_object_store(Settings(mycoflow_home=tmp_path / "home"))
    open_object_store(Settings(image_store=str(tmp_path / "images")))
    assert not list(tmp_path.iterdir())


def test_a_prefix_is_optional(s3_environment: None) -> None:
    boto3.client("s3").create_bucket(Bucket="whole")
    open_object_store(Settings(image_store="s3://whole")).put(KEY, b"bytes")
    assert boto3.client("s3").get_object(Bucket="whole", Key=KEY)["Body"].read() == b"bytes"


@pytest.mark.parametrize("address", ["s3://", "s3:///prefix", "gs://bucket/prefix", "https://bucket"])
def test_other_addresses_are_a_wrong_setting(address: str) -> None:
    with pytest.raises(SettingsError, match="MYCOFLOW_IMAGE_STORE: expected a folder or s3://bucket/prefix"):
        open_object_store(Settings(image_store=address))


def test_a_missing_bucket_says_what_to_check(s3_environment: None) -> None:
    store = open_object_store(Settings(image_store="s3://nowhere"))
    with pytest.raises(ImageStoreError, match="check MYCOFLOW_IMAGE_STORE"):
        store.put(KEY, b"bytes")


def test_an_unreachable_s3_server_says_what_to_check(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = open_object_store(Settings(image_store="s3://mycoflow"))
    with pytest.raises(ImageStoreError, match="AWS_ENDPOINT_URL"):
        store.exists(KEY)


def test_an_s3_store_uses_no_checksums_that_other_servers_refuse(s3_environment: None) -> None:
    store = open_object_store(Settings(image_store="s3://mycoflow"))
    assert isinstance(store, S3Store)
    config = store.client.meta.config
    assert config.request_checksum_calculation == config.response_checksum_validation == "when_required"


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    store.put(KEY, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ImageStoreError, match="No space left on device"):
            store.put(KEY, b"new")
    assert store.get(KEY) == b"old"
    assert [path.relative_to(tmp_path) for path in files_under(tmp_path)] == [Path(KEY)]
    store.put(KEY, b"new")
    assert store.get(KEY) == b"new"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, where mounting one is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_nothing_half_written(small_disk: Path) -> None:
    store = FolderStore(small_disk)
    store.put(KEY, bytes(150_000))
    with pytest.raises(ImageStoreError, match="No space left on device"):
        store.put(backbone_key("t"), bytes(150_000))
    assert [path.relative_to(small_disk) for path in files_under(small_disk)] == [Path(KEY)]
    store.delete(KEY)
    store.put(backbone_key("t"), bytes(150_000))
