"""From the URLs in MYCOFLOW_INGEST_SOURCES to sources."""

import hashlib
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from ml.catalog.object_store import s3_client
from ml.errors import SettingsError
from ml.ingest.sources.arrivals import Source
from ml.ingest.sources.drop_folder import DropFolder
from ml.ingest.sources.photo_formats import FORMATS
from ml.ingest.sources.s3_prefix import S3Prefix
from ml.ingest.sources.table_photos import TablePhotos
from ml.settings import Settings, parse_s3_accounts


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
        url: a folder's path or file:///path, s3://bucket/prefix, or FORMAT+https://host of a collection, where FORMAT
            is one of ml.ingest.sources.photo_formats.FORMATS. After a `?`, S3 has `account=NAME`, one of
            MYCOFLOW_INGEST_S3_ACCOUNTS. A collection has `photos=URL`, which says where its photos are, if not where
            the format has them, and each `label=NAME` adds a class to take photos of.
        labels: what is known; a collection is asked for photos of these.
    Raises: SettingsError, none of these, one with a password in it, or an unknown account.
    """
    _demand_no_password(url)
    if "://" not in url:
        return DropFolder(Path(url).expanduser().resolve())
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return DropFolder(Path(unquote(parts.path)).resolve())
    if parts.scheme == "s3" and parts.netloc:
        return _open_prefix(parts, settings)
    name, _, scheme = parts.scheme.partition("+")
    if name in FORMATS and scheme in ("http", "https") and parts.netloc:
        return _open_collection(parts, settings, labels)
    raise SettingsError(
        "MYCOFLOW_INGEST_SOURCES: expected a folder, file:///folder, s3://bucket/prefix, or "
        f"{' or '.join(f'{name}+https://host' for name in FORMATS)}, separated by commas, got {url!r}"
    )


def _open_prefix(parts: SplitResult, settings: Settings) -> Source:
    place = f"s3://{parts.netloc}{parts.path}"
    asked = parse_qs(parts.query, keep_blank_values=True)
    if parts.fragment or (asked and (list(asked) != ["account"] or len(asked["account"]) != 1)):
        raise SettingsError(
            f"MYCOFLOW_INGEST_SOURCES: expected ?account=NAME or nothing behind {place}, got something else. Write a ? "
            "or # in a prefix as %3F or %23, and keys in MYCOFLOW_INGEST_S3_ACCOUNTS."
        )
    prefix = unquote(parts.path).strip("/")
    if not asked:
        return S3Prefix(s3_client(), parts.netloc, prefix)
    text = settings.ingest_s3_accounts
    accounts = parse_s3_accounts(text.get_secret_value()) if text else {}
    (name,) = asked["account"]
    if name not in accounts:
        raise SettingsError(
            f"MYCOFLOW_INGEST_SOURCES: expected an account of MYCOFLOW_INGEST_S3_ACCOUNTS behind {place}, got "
            f"{name!r}. It has: {', '.join(sorted(accounts)) or 'none'}."
        )
    return S3Prefix(s3_client(accounts[name]), parts.netloc, prefix, name)


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
    # A secret of S3 may hold a `/` that nobody encoded.
    if "@" in re.split("[?#]", authority)[0] or (scheme == "s3" and ":" in authority and "@" in behind):
        host = rest.rpartition("@")[2]
        raise SettingsError(
            f"MYCOFLOW_INGEST_SOURCES: expected URLs without user name and password, got one with them: "
            f"{scheme}://...@{host}. Take them out; S3 has MYCOFLOW_INGEST_S3_ACCOUNTS and the AWS_... variables, and "
            "collections are public."
        )
    for photos_url in parse_qs(urlsplit(url).query).get("photos", []):
        _demand_no_password(photos_url)
