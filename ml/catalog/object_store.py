"""Where bytes live, images and backbones alike: a local folder, or any S3 store."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfileobj
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO, TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ml.errors import ImageStoreError, SettingsError
from ml.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ObjectFacts:
    """What a store says of an object without reading it; the time by the store's clock."""

    byte_count: int
    written_at: datetime


class ObjectStore(Protocol):
    """Bytes by key. Every method raises ImageStoreError where the store cannot be read or written."""

    def put(self, key: str, content: bytes) -> None:
        """Store all of content under key, or nothing. An object that is already there is replaced."""

    def put_file(self, key: str, file: IO[bytes]) -> None:
        """Store all that a file holds from its start, as put does, without reading it into memory."""

    def get(self, key: str) -> bytes:
        """The bytes under key. A missing object is an ImageStoreError."""

    def open(self, key: str, scratch: Path) -> IO[bytes]:
        """The object under key as a file to read in any order; scratch, a folder with space for a copy of it."""

    def exists(self, key: str) -> bool:
        """Whether an object lies under key."""

    def stat(self, key: str) -> ObjectFacts | None:
        """Size and age of the object under key; None where there is none."""

    def delete(self, key: str) -> None:
        """Remove the object under key, if there is one."""


def image_key(sha256: str) -> str:
    """The key of an image's bytes. Two levels of folders keep any one of them small."""
    return f"images/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def backbone_key(onnx_sha256: str) -> str:
    """The key of a backbone's ONNX file."""
    return f"backbones/{onnx_sha256}.onnx"


def report_key(content_sha256: str) -> str:
    """The key of an ingestion report's contact sheet."""
    return f"reports/{content_sha256}.jpg"


def archive_key(batch_id: int) -> str:
    """The key of the ZIP of a prediction batch."""
    return f"archives/{batch_id}.zip"


def open_object_store(settings: Settings) -> ObjectStore:
    """The store that MYCOFLOW_IMAGE_STORE names. Nothing is connected to or created before the first object.

    Raises: SettingsError, neither a folder nor s3://bucket/prefix.
    """
    address = settings.image_store
    if address is None:
        return FolderStore(settings.mycoflow_home / "store")
    if "://" not in address:
        return FolderStore(Path(address).expanduser().resolve())
    parts = urlsplit(address)
    if parts.scheme != "s3" or not parts.netloc:
        raise SettingsError(f"MYCOFLOW_IMAGE_STORE: expected a folder or s3://bucket/prefix, got {address!r}")
    return S3Store(s3_client(), bucket=parts.netloc, prefix=parts.path.strip("/"))


@dataclass(frozen=True)
class FolderStore:
    """Objects as files under a root folder."""

    root: Path

    def put(self, key: str, content: bytes) -> None:
        self._put(key, lambda file: file.write(content))

    def put_file(self, key: str, file: IO[bytes]) -> None:
        file.seek(0)
        self._put(key, lambda target: copyfileobj(file, target, _CHUNK_BYTES))

    def _put(self, key: str, write: Callable[[IO[bytes]], object]) -> None:
        path = self.root / key
        with self._translated_errors(f"write {path}"):
            incoming = self.root / ".incoming"
            incoming.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(path, write, incoming)

    def get(self, key: str) -> bytes:
        with self._translated_errors(f"read {self.root / key}"):
            return (self.root / key).read_bytes()

    def open(self, key: str, scratch: Path) -> IO[bytes]:
        with self._translated_errors(f"read {self.root / key}"):
            return (self.root / key).open("rb")

    def exists(self, key: str) -> bool:
        with self._translated_errors(f"look at {self.root / key}"):
            return (self.root / key).is_file()

    def stat(self, key: str) -> ObjectFacts | None:
        with self._translated_errors(f"look at {self.root / key}"):
            try:
                found = (self.root / key).stat()
            except FileNotFoundError:
                return None
            return ObjectFacts(found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def delete(self, key: str) -> None:
        with self._translated_errors(f"remove {self.root / key}"):
            (self.root / key).unlink(missing_ok=True)

    @contextmanager
    def _translated_errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ImageStoreError(
                f"Could not {action}: {error.strerror}. Expected a readable, writable folder with free space: "
                f"{self.root} (MYCOFLOW_IMAGE_STORE)."
            ) from error


def _write_whole(path: Path, write: Callable[[IO[bytes]], object], incoming: Path) -> None:
    """Write beside, force to disk, then rename: a crash or a full disk at any point leaves all or nothing."""
    with NamedTemporaryFile(dir=incoming, delete=False) as file:
        try:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).rename(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The rename itself is on disk only once the folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class S3Store:
    """Objects in a bucket, under a prefix. S3 itself stores an object whole or not at all."""

    client: "S3Client"
    bucket: str
    prefix: str

    def put(self, key: str, content: bytes) -> None:
        with self._translated_errors("write", key):
            self.client.put_object(Bucket=self.bucket, Key=self._key(key), Body=content)

    def put_file(self, key: str, file: IO[bytes]) -> None:
        file.seek(0)
        with self._translated_errors("write", key):
            self.client.put_object(Bucket=self.bucket, Key=self._key(key), Body=file)

    def get(self, key: str) -> bytes:
        with self._translated_errors("read", key):
            return self.client.get_object(Bucket=self.bucket, Key=self._key(key))["Body"].read()

    def open(self, key: str, scratch: Path) -> IO[bytes]:
        file = _open_scratch(scratch)
        try:
            with self._translated_errors("read", key):
                self.client.download_fileobj(self.bucket, self._key(key), file)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def exists(self, key: str) -> bool:
        return self.stat(key) is not None

    def stat(self, key: str) -> ObjectFacts | None:
        with self._translated_errors("look at", key):
            try:
                found = self.client.head_object(Bucket=self.bucket, Key=self._key(key))
            except self.client.exceptions.ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                    return None
                raise
            return ObjectFacts(found["ContentLength"], found["LastModified"])

    def delete(self, key: str) -> None:
        with self._translated_errors("remove", key):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(key))

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    @contextmanager
    def _translated_errors(self, action: str, key: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only where S3 is used

        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise ImageStoreError(
                f"Could not {action} s3://{self.bucket}/{self._key(key)}: {error}. Expected a reachable bucket: check "
                "MYCOFLOW_IMAGE_STORE, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            ) from error


def _open_scratch(folder: Path) -> IO[bytes]:
    """A file without a name: it goes with its process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return TemporaryFile(dir=folder)
    except OSError as error:
        raise ImageStoreError(
            f"Could not write to {folder}: {error.strerror}. Expected a writable folder with free space."
        ) from error


def s3_client() -> "S3Client":
    """A client that talks to any S3 server: to the one that boto3 reads from the AWS_... variables."""
    import boto3  # noqa: PLC0415 - half a second of import that a local store does not need
    from botocore.config import Config  # noqa: PLC0415

    # boto3's default checksums are refused by S3 servers other than Amazon's.
    config = Config(
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 3},
    )
    client: S3Client = boto3.client("s3", config=config)
    return client
