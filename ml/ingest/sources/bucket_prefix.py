"""Images under a prefix of a bucket, laid out like a folder: `prefix/<class>/<image>`, perhaps `groups.csv`."""

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from unicodedata import normalize
from urllib.parse import quote

from opendal import Operator, exceptions
from opendal.exceptions import ConfigInvalid, NotFound, PermissionDenied
from opendal.layers import RetryLayer, TimeoutLayer

from ml.bucket_accounts import KINDS, BucketAccount
from ml.catalog.class_names import find_fault
from ml.errors import InvalidImageError, SourceError, SourceUnavailableError
from ml.ingest.layout.class_folders import mix_classes
from ml.ingest.layout.groups import GROUPS_FILE, Groups, parse_groups
from ml.ingest.layout.litter import is_litter, is_litter_folder
from ml.ingest.sources.arrivals import ArrivedFile
from ml.ingest.validation import check_byte_count

_TIMEOUT_SECONDS = 30
_RETRIES = 2
_RETRY_SECONDS = 1.0
# A source with an account is read with its key or not at all, whatever keys the machine has.
_NO_OTHER_KEY = {"disable_config_load": "true", "disable_ec2_metadata": "true", "disable_vm_metadata": "true"}
# They have no common base.
_ERRORS = tuple(each for each in vars(exceptions).values() if isinstance(each, type) and issubclass(each, Exception))


@dataclass(frozen=True)
class _Object:
    key: str
    name: str
    etag: str
    byte_count: int


@dataclass(frozen=True)
class BucketPrefix:
    """A bucket and a prefix; an empty one is the whole bucket. Nothing is written there.

    Args:
        kind: one of KINDS.
        account_name: None where the key comes from the environment. Servers may have buckets of the same name.
    """

    kind: str
    bucket: str
    prefix: str
    account_name: str | None = None
    account: BucketAccount | None = None

    @property
    def url(self) -> str:
        place = f"{self.kind}://{self.bucket}/{self.prefix}".rstrip("/")
        return place if self.account_name is None else f"{place}?account={quote(self.account_name)}"

    def files(self) -> Iterator[ArrivedFile]:
        with self._translated_errors():
            operator = self._open()
            objects = asyncio.run(self._list(operator))
            groups = self._groups(operator, objects)
        classes: dict[str, list[_Object]] = {}
        told: set[str] = set()  # folders that are no class; the first object of each stands for all
        for each in objects:
            if each.name == GROUPS_FILE:
                continue
            label, _, rest = normalize("NFC", each.name).partition("/")  # an accent is one character or two
            nested, is_nested, _ = rest.partition("/")
            problem = _find_problem(label, nested if is_nested else "") if rest else None
            if problem is not None:
                folder = label if problem.reason == "folder_name" else f"{label}/{nested}"
                if folder not in told:
                    told.add(folder)
                    yield _arrived(operator, each, None, None, problem)
            elif rest and not is_nested:
                classes.setdefault(label, []).append(each)
            else:
                yield _arrived(operator, each, None, None)
        for name, problem in groups.problems.items():
            read = partial(operator.read, GROUPS_FILE)
            yield ArrivedFile(f"{GROUPS_FILE}: {name}", "entry", None, None, read, problem=problem)
        for label, each in mix_classes(classes):
            yield _arrived(operator, each, label, groups.of_files.get(normalize("NFC", each.name)))

    def _open(self) -> Operator:
        """Open the bucket here and not earlier: the threads of OpenDAL do not survive a fork."""
        kind = KINDS[self.kind]
        options = _NO_OTHER_KEY | self.account.options() if self.account else {}
        operator = Operator(kind.service, **{kind.bucket: self.bucket}, **options)
        timeout = TimeoutLayer(timeout=_TIMEOUT_SECONDS, io_timeout=_TIMEOUT_SECONDS)
        return operator.layer(timeout).layer(RetryLayer(max_times=_RETRIES, min_delay=_RETRY_SECONDS))

    async def _list(self, operator: Operator) -> list[_Object]:
        """List page after page. OpenDAL's blocking list would stop all other Python threads while it waits."""
        root = f"{self.prefix}/" if self.prefix else ""
        found = []
        async for entry in await operator.to_async_operator().list(root, recursive=True):
            name = entry.path.removeprefix(root)
            if name and not name.endswith("/"):
                etag = (entry.metadata.etag or str(entry.metadata.last_modified)).strip('"')
                found.append(_Object(entry.path, name, etag, entry.metadata.content_length))
        folders = {str(parent) for each in found for parent in PurePosixPath(each.name).parents}
        bins = _find_bins(each.name for each in found)
        # Some programs write an empty object with the name of a folder.
        return [
            each for each in found if not _is_litter(each.name, bins) and (each.byte_count or each.name not in folders)
        ]

    def _groups(self, operator: Operator, objects: Sequence[_Object]) -> Groups:
        key = next((each.key for each in objects if each.name == GROUPS_FILE), None)
        if key is None:
            return Groups()
        names = {normalize("NFC", each.name) for each in objects if each.name != GROUPS_FILE}
        return parse_groups(operator.read(key), names, repr(f"{self.url}/{GROUPS_FILE}"))

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        key, name = KINDS[self.kind].environment, self.account_name
        where = f"the account {name!r} of MYCOFLOW_INGEST_ACCOUNTS" if name else f"the environment ({key})"
        remedy = f"Expected a bucket that may be listed and read: check MYCOFLOW_INGEST_SOURCES and {where}."
        try:
            yield
        except _ERRORS as error:
            if _is_refusal(error):
                raise SourceError(f"Could not read {self.url}: {_reason(error)}. {remedy}") from None
            raise SourceUnavailableError(f"Could not reach {self.url}: {_reason(error)}. {remedy}") from None


def _find_bins(names: Iterable[str]) -> set[str]:
    """Return the folders that may be a class's by their name, and are Windows' by what is in them."""
    bins = set()
    for name in names:
        parts = name.split("/")
        for place, part in enumerate(parts[1:], start=1):
            if is_litter_folder(parts[place - 1], [part]):
                bins.add("/".join(parts[:place]))
    return bins


def _is_litter(name: str, bins: Collection[str]) -> bool:
    *folders, file = name.split("/")
    return any(map(is_litter, [*folders, file])) or any(
        "/".join(folders[: place + 1]) in bins for place in range(len(folders))
    )


def _find_problem(label: str, nested: str) -> InvalidImageError | None:
    """Return why the content of a folder is left out. Args: nested, its folder in the class folder, or empty."""
    if fault := find_fault(label):
        return InvalidImageError("folder_name", f"expected a folder with the name of a class, got {fault}: rename it")
    if nested:
        return InvalidImageError(
            "nested_folder",
            f"expected an image, got the folder {nested!r} inside the class folder {label!r}: move its images up",
        )
    return None


def _arrived(
    operator: Operator,
    found: _Object,
    label: str | None,
    group: str | None,
    problem: InvalidImageError | None = None,
) -> ArrivedFile:
    read = partial(_read_image, operator, found)
    return ArrivedFile(found.name, found.etag, label, group, read, problem=problem)


def _read_image(operator: Operator, found: _Object) -> bytes:
    """Read an object. The bucket was listed, so what goes wrong now says nothing about the other objects."""
    check_byte_count(found.byte_count)
    if "//" in found.key:  # OpenDAL would read the object that has one / there
        raise InvalidImageError(
            "missing", f"expected a key without an empty part, got {found.key!r}: rename the object"
        )
    try:
        return operator.read(found.key)
    except NotFound:
        message = f"expected the object {found.key!r}, got none: it is gone again"
        raise InvalidImageError("missing", message) from None
    except _ERRORS as error:  # refused: no permission for this one, or it lies in an archive
        reason = "refused" if _is_refusal(error) else "unreachable"
        raise InvalidImageError(reason, f"expected the object {found.key!r}, got: {_reason(error)}") from None


# OpenDAL's errors have a text and nothing else: a line that says what happened, the request and its answer, the error
# behind it, and a stack of addresses. The request may hold a signature, so only the first line and the cause go on.


def _is_refusal(error: Exception) -> bool:
    """Whether asking again is no use: the server answers 3xx or 4xx, or there is no key that it could accept."""
    if isinstance(error, ConfigInvalid | NotFound | PermissionDenied):
        return True
    return bool(re.search(r"Parts \{ status: [34](?!29)|failed to load signing credential", str(error)))


def _reason(error: Exception) -> str:
    first = str(error).partition("\n")[0]
    said = first.partition(" => ")[2] or first
    cause = re.search(r"^Source:\n +(.+)$", str(error), re.MULTILINE)
    return f"{said}: {cause[1]}" if cause else said
