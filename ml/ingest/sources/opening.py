"""From the URLs in MYCOFLOW_INGEST_SOURCES to sources."""

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, unquote_to_bytes, urlsplit

from ml.bucket_accounts import KINDS, BucketAccount, parse_accounts
from ml.errors import SettingsError
from ml.ingest.sources.arrivals import Source
from ml.ingest.sources.drop_folder import DropFolder
from ml.ingest.sources.photo_formats import FORMATS
from ml.ingest.sources.table_photos import TablePhotos
from ml.settings import Settings


def source_urls(settings: Settings) -> list[str]:
    """The URLs in MYCOFLOW_INGEST_SOURCES, each once. A comma inside one is written %2C.

    Raises: SettingsError, one has a password in it.
    """
    urls = list(dict.fromkeys(filter(None, map(str.strip, settings.ingest_sources.split(",")))))
    for url in urls:
        _demand_no_password(url)
    return urls


def open_source(url: str, settings: Settings, labels: Collection[str]) -> Source:
    """Open a source. Nothing is connected to or read before its first file.

    Args:
        url: a folder's path or file:///path, KIND://bucket/prefix, or FORMAT+https://host of a collection, where KIND
            is one of ml.bucket_accounts.KINDS and FORMAT one of ml.ingest.sources.photo_formats.FORMATS. After a `?`,
            a bucket has `account=NAME`, one of MYCOFLOW_INGEST_ACCOUNTS. A collection has `photos=URL`, which says
            where its photos are, if not where the format has them, and each `label=NAME` adds a class to take photos
            of.
        labels: what is known; a collection is asked for photos of these.
    Raises: SettingsError, none of these, one with a password in it, or an unknown account.
    """
    _demand_no_password(url)
    if "://" not in url:
        return DropFolder(_open_folder(url))
    if url.lower().startswith("file://"):
        return DropFolder(_open_folder(_file_path(url)))
    parts = _split(url)
    if parts.scheme in KINDS and parts.netloc:
        return _open_prefix(parts, settings)
    name, _, scheme = parts.scheme.partition("+")
    if name in FORMATS and scheme in ("http", "https") and parts.netloc:
        return _open_collection(parts, settings, labels)
    raise _no_source(url)


def _no_source(url: str) -> SettingsError:
    return SettingsError(
        f"MYCOFLOW_INGEST_SOURCES: expected a folder, file:///folder, "
        f"{', '.join(f'{kind}://bucket/prefix' for kind in KINDS)}, or "
        f"{' or '.join(f'{name}+https://host' for name in FORMATS)}, separated by commas, got {url!r}"
    )


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:  # a host with one bracket, for example
        raise SettingsError(f"MYCOFLOW_INGEST_SOURCES: expected a URL, got {url!r}: {error}") from error


def _file_path(url: str) -> str:
    """Return the path of a file:// URL. Its bytes are those of the file system, in UTF-8 or not."""
    host, slash, path = url[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise _no_source(url)
    if not {"?", "#"}.isdisjoint(path):
        raise SettingsError(
            f"MYCOFLOW_INGEST_SOURCES: expected a folder without ? and # in its URL, got {url!r}. Write them as %3F "
            "and %23."
        )
    return os.fsdecode(unquote_to_bytes(os.fsencode(slash + path)))


def _open_folder(path: str) -> Path:
    """Return an absolute path. A loop of links is a path too; listing it says what is wrong."""
    try:
        return Path(os.path.realpath(Path(path).expanduser()))
    except (RuntimeError, ValueError) as error:  # an unknown user behind ~, or NUL
        raise SettingsError(f"MYCOFLOW_INGEST_SOURCES: expected a folder, got {path!r}: {error}") from error


def _open_prefix(parts: SplitResult, settings: Settings) -> Source:
    from ml.ingest.sources.bucket_prefix import BucketPrefix  # noqa: PLC0415 - 20 MB that other sources do not need

    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    asked = parse_qs(parts.query, keep_blank_values=True)
    if parts.fragment or (asked and (list(asked) != ["account"] or len(asked["account"]) != 1)):
        raise SettingsError(
            f"MYCOFLOW_INGEST_SOURCES: expected ?account=NAME or nothing behind {place}, got something else. Write a ? "
            "or # in a prefix as %3F or %23, and keys in MYCOFLOW_INGEST_ACCOUNTS."
        )
    try:
        prefix = unquote(parts.path, errors="strict").strip("/")
    except UnicodeDecodeError:
        raise SettingsError(f"MYCOFLOW_INGEST_SOURCES: expected a prefix in UTF-8, got {place!r}") from None
    if prefix and not {"", ".", ".."}.isdisjoint(prefix.split("/")):
        raise SettingsError(f"MYCOFLOW_INGEST_SOURCES: expected a prefix without empty, . or .. parts, got {place}")
    if asked:
        (name,) = asked["account"]
        return BucketPrefix(parts.scheme, parts.netloc, prefix, name, _account(place, parts.scheme, name, settings))
    if KINDS[parts.scheme].environment is None:
        raise SettingsError(
            f"MYCOFLOW_INGEST_SOURCES: expected ?account=NAME behind {place}, got nothing. Write the account in "
            "MYCOFLOW_INGEST_ACCOUNTS."
        )
    return BucketPrefix(parts.scheme, parts.netloc, prefix)


def _account(place: str, kind: str, name: str, settings: Settings) -> BucketAccount:
    text = settings.ingest_accounts
    accounts = parse_accounts(text.get_secret_value()) if text else {}
    fitting = {name: account for name, account in accounts.items() if account.kind == kind}
    if name not in fitting:
        raise SettingsError(
            f"MYCOFLOW_INGEST_SOURCES: expected an account of MYCOFLOW_INGEST_ACCOUNTS behind {place}, got {name!r}. "
            f"It has of the kind {kind}: {', '.join(sorted(fitting)) or 'none'}."
        )
    return fitting[name]


def _open_collection(parts: SplitResult, settings: Settings, labels: Collection[str]) -> Source:
    name, _, scheme = parts.scheme.partition("+")
    published, asked = FORMATS[name], parse_qs(parts.query)
    url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    (photos_url,) = asked.get("photos", [f"{scheme}://{published.photos_host}{parts.netloc}"])[:1]
    return TablePhotos(
        url=url,
        tables_url=url.partition("+")[2],
        photos_url=photos_url.rstrip("/"),
        published=published,
        labels=frozenset(labels) | frozenset(asked.get("label", [])),
        folder=settings.mycoflow_home / "ingest" / hashlib.sha256(url.encode()).hexdigest()[:16],
        allowed_hosts=settings.fetch_allowed_hosts,
    )


def _demand_no_password(url: str) -> None:
    """Refuse what would go on to the catalog, to logs and to Airflow's pages, without repeating it."""
    scheme, _, rest = url.partition("://")
    authority, _, behind = rest.partition("/")
    # The secret of a bucket may hold a `/` that nobody encoded.
    if "@" in re.split("[?#]", authority)[0] or (scheme in KINDS and ":" in authority and "@" in behind):
        host = rest.rpartition("@")[2]
        raise SettingsError(
            f"MYCOFLOW_INGEST_SOURCES: expected URLs without user name and password, got one with them: "
            f"{scheme}://...@{host}. Take them out; buckets have MYCOFLOW_INGEST_ACCOUNTS, and collections are public."
        )
    if "://" not in url:
        return
    for photos_url in parse_qs(_split(url).query).get("photos", []):
        _demand_no_password(photos_url)
