"""Images under a prefix of an S3 bucket, laid out like a folder: `prefix/<class>/<image>`, perhaps `groups.csv`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from unicodedata import normalize
from urllib.parse import quote

from ml.errors import InvalidImageError, SourceError, SourceUnavailableError
from ml.ingest.class_folders import mix_classes
from ml.ingest.groups import GROUPS_FILE, parse_groups
from ml.ingest.sources.arrivals import ArrivedFile
from ml.ingest.validation import check_byte_count

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class _Object:
    key: str
    name: str
    etag: str
    byte_count: int


@dataclass(frozen=True)
class S3Prefix:
    """A bucket and a prefix; an empty one is the whole bucket. Nothing is written there.

    Args: account, the name of the one that the client has, if any: servers may have buckets of the same name.
    """

    client: "S3Client"
    bucket: str
    prefix: str
    account: str | None = None

    @property
    def url(self) -> str:
        place = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        return place if self.account is None else f"{place}?account={quote(self.account)}"

    def files(self) -> Iterator[ArrivedFile]:
        objects = {each.name: each for each in self._list()}
        groups = self._groups(objects)
        objects.pop(GROUPS_FILE, None)
        classes: dict[str, list[_Object]] = {}
        for each in objects.values():
            label, _, rest = each.name.partition("/")
            if rest and "/" not in rest:
                classes.setdefault(label, []).append(each)
            else:
                yield self._arrived(each, None, None)
        for label, each in mix_classes(classes):
            yield self._arrived(each, label, groups.get(each.name))

    def _list(self) -> Iterator[_Object]:
        root = f"{self.prefix}/" if self.prefix else ""
        with self._translated_errors():
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=root):
                for found in page.get("Contents", []):
                    name = normalize("NFC", found["Key"].removeprefix(root))
                    if not name.endswith("/") and not any(part.startswith(".") for part in name.split("/")):
                        yield _Object(found["Key"], name, found["ETag"].strip('"'), found["Size"])

    def _groups(self, objects: dict[str, _Object]) -> dict[str, str]:
        if GROUPS_FILE not in objects:
            return {}
        with self._translated_errors():
            content = self._read(objects[GROUPS_FILE].key)
        return parse_groups(content, set(objects), f"{self.url}/{GROUPS_FILE}")

    def _arrived(self, found: _Object, label: str | None, group: str | None) -> ArrivedFile:
        return ArrivedFile(found.name, found.etag, label, group, partial(self._read_image, found))

    def _read_image(self, found: _Object) -> bytes:
        """Read an object. The bucket was listed, so what goes wrong now says nothing about the other objects."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - heavy

        check_byte_count(found.byte_count)
        try:
            return self._read(found.key)
        except self.client.exceptions.NoSuchKey as error:
            message = f"expected the object {found.key}, got none: it is gone again"
            raise InvalidImageError("missing", message) from error
        except ClientError as error:  # 4xx: no permission for this one, or it lies in an archive
            reason = "refused" if _status(error) < 500 else "unreachable"
            raise InvalidImageError(reason, f"expected the object {found.key}, got: {error}") from error
        except BotoCoreError as error:
            raise InvalidImageError("unreachable", f"expected the object {found.key}, got: {error}") from error

    def _read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415 - heavy

        key = f"account {self.account!r} of MYCOFLOW_INGEST_S3_ACCOUNTS" if self.account else "AWS_... variables"
        remedy = f"Expected a bucket that may be listed and read: check MYCOFLOW_INGEST_SOURCES and the {key}."
        try:
            yield
        except (ClientError, NoCredentialsError) as error:
            is_ours = isinstance(error, NoCredentialsError) or _status(error) < 500
            kind = SourceError if is_ours else SourceUnavailableError
            raise kind(f"Could not read {self.url}: {error}. {remedy}") from error
        except BotoCoreError as error:
            raise SourceUnavailableError(f"Could not reach {self.url}: {error}. {remedy}") from error


def _status(error: "ClientError") -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
