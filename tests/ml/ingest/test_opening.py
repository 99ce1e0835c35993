"""From URLs to sources, and what a folder offers."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml.errors import InvalidImageError, SettingsError, SourceError
from ml.ingest.sources.arrivals import ArrivedFile, Source
from ml.ingest.sources.opening import open_source, source_urls
from ml.settings import Settings
from tests.ml.dropping import settle
from tests.ml.ingest.buckets import with_accounts

Drop = Callable[[dict[str, list[int]]], Path]


def opened(url: str) -> Source:
    return open_source(url, Settings(), [])


def offered(url: str) -> dict[str, ArrivedFile]:
    return {file.name: file for file in opened(url).files()}


def stated(url: str) -> dict[str, tuple[str | None, str | None]]:
    return {name: (file.label, file.group) for name, file in offered(url).items()}


def test_the_setting_names_sources_by_commas() -> None:
    settings = Settings(ingest_sources=" /data/drop, s3://bucket/new ,,/data/drop")
    assert source_urls(settings) == ["/data/drop", "s3://bucket/new"]
    assert source_urls(Settings()) == []


@pytest.mark.parametrize("address", ["{}", "file://{}", "file://localhost{}"])
def test_a_folder_is_named_by_its_path_or_url(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "new photos"
    url = address.format(str(folder).replace(" ", "%20") if "://" in address else folder)
    assert opened(url).url == folder.as_uri()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/photos",
        "s3://",
        "s3:///prefix",
        "gs:///prefix",
        "gcs://bucket/prefix",
        "s3://bucket/a//b",
        "gs://bucket/a/../b?account=lab",
        "file://host/photos",
        "file://",
        "gbif+https://host",
        "inaturalist://host",
        "s3://[x/y",
        "http://[a",
        "/data/x://[y",
        "inaturalist+https://host?photos=https://[a",
        "s3://bucket/caf%E9",
        "file:///data/set #2",
        "file:///data/a?b",
        "file:///data/a?",
        "file:///data/a%00b",
        "file://[a/b",
        "/data/a\0b",
    ],
)
def test_another_url_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="MYCOFLOW_INGEST_SOURCES: expected"):
        opened(url)


@pytest.mark.parametrize(
    "url",
    [
        "inaturalist+https://user:s3cret@host",
        "gbif+https://user:s3cret@host",
        "s3://key:s3cret@bucket/prefix",
        "s3://key:a/s3cret@bucket/prefix",
        "az://name:a/s3cret@container/prefix",
        "inaturalist+https://host?photos=https://user:s3cret@photos",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError, match="without user name and password") as refusal:
        opened(url)
    assert "s3cret" not in str(refusal.value)


def test_a_password_in_the_setting_goes_no_further() -> None:
    with pytest.raises(SettingsError, match="without user name and password"):
        source_urls(Settings(ingest_sources="/data/ada@home,inaturalist+https://user:s3cret@host"))
    with pytest.raises(SettingsError, match="without user name and password"):
        source_urls(Settings(ingest_sources="inaturalist+https://host?photos=https://user:s3cret@photos"))
    assert source_urls(Settings(ingest_sources="/data/ada@home")) == ["/data/ada@home"]


@pytest.mark.parametrize(
    "name", [b"caf\xe9", b"\xff\xfe", "café".encode(), b"a\tb", b"set #2?", b"[a", b"100%41"], ids=repr
)
def test_the_url_that_a_folder_has_opens_it(name: bytes, drop_folder: Drop) -> None:
    dropped = drop_folder({"a": [1]})
    folder = dropped.rename(Path(os.fsdecode(bytes(dropped.parent) + b"/" + name)))
    url = opened(str(folder)).url
    assert opened(url).url == url
    assert list(offered(url)) == ["a/001.png"]


@pytest.mark.parametrize("path", ["//[a/b", "[x]:/y", "/data/a?b#c"])
def test_a_path_is_no_url(path: str) -> None:
    assert opened(path).url.startswith("file:///")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no folder"):
        offered(str(tmp_path / "nowhere"))


def test_a_folder_offers_its_files_with_class_and_group(drop_folder: Drop) -> None:
    folder = drop_folder({"a": [1, 2], "b": [3]})
    (folder / "groups.csv").write_text("file,group\na/001.png,walk 7\n")
    (folder / ".hidden").write_text("")
    (folder / "notes.txt").write_text("")
    settle(folder)
    expected = {"a/001.png": ("a", "walk 7"), "a/002.png": ("a", None), "b/003.png": ("b", None)}
    assert stated(str(folder)) == expected | {"notes.txt": (None, None)}


def test_a_file_is_offered_once_nobody_writes_to_it_any_more(drop_folder: Drop) -> None:
    folder = drop_folder({"a": [1, 2, 3]})
    (folder / "a" / "001.png").write_bytes(b"half an im")
    next_year = time.time() + 365 * 24 * 3600
    os.utime(folder / "a" / "002.png", (next_year, next_year))  # a camera's wrong clock
    assert list(offered(str(folder))) == ["a/002.png", "a/003.png"]
    assert list(offered(str(settle(folder)))) == ["a/001.png", "a/002.png", "a/003.png"]


def test_a_file_that_may_not_be_read_is_asked_for_again(drop_folder: Drop) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to other users
        folder = settle(Path(shutil.copytree(drop_folder({"a": [1, 2]}), Path(name) / "drop")))
        for path in (Path(name), folder, folder / "a"):
            path.chmod(0o755)
        (folder / "a" / "001.png").chmod(0)
        (folder / "a" / "002.png").chmod(0o644)
        closed, readable = opened(str(folder)).files()
        with as_nobody():
            assert readable.read()
            with pytest.raises(InvalidImageError) as refusal:
                closed.read()
    assert refusal.value.reason == "refused"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, whom no file refuses."""
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    yield
    os.seteuid(user)


def test_nothing_is_offered_while_the_groups_are_being_written(drop_folder: Drop) -> None:
    folder = drop_folder({"a": [1, 2]})
    (folder / "groups.csv").write_text("file,group\na/001.png,walk 7\n")
    assert stated(str(folder)) == {}
    assert stated(str(settle(folder))) == {"a/001.png": ("a", "walk 7"), "a/002.png": ("a", None)}


def test_a_link_out_of_a_folder_is_not_followed(drop_folder: Drop, tmp_path: Path) -> None:
    folder = drop_folder({"a": [1]})
    (tmp_path / "private.png").write_bytes(b"secret")
    (folder / "a" / "link.png").symlink_to(tmp_path / "private.png")
    settle(folder)
    with pytest.raises(InvalidImageError, match="link to a file outside it"):
        offered(str(folder))["a/link.png"].read()


LAB = {"kind": "s3", "endpoint": "https://s3.lab.example", "access_key_id": "key", "secret_access_key": "s3cret"}


def test_an_account_that_is_not_set_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match=r"got 'lob'. It has of the kind s3: lab\."):
        open_source("s3://images/new?account=lob", with_accounts(lab=LAB), [])
    with pytest.raises(SettingsError, match=r"got 'lab'. It has of the kind gs: none\."):
        open_source("gs://images/new?account=lab", with_accounts(lab=LAB), [])
    with pytest.raises(SettingsError, match=r"got 'lab'. It has of the kind s3: none\."):
        opened("s3://images/new?account=lab")


def test_a_container_of_azure_needs_an_account() -> None:
    with pytest.raises(SettingsError, match=r"expected \?account=NAME behind az://images/new, got nothing"):
        opened("az://images/new")


@pytest.mark.parametrize(
    "query",
    ["?secret_access_key=hunter2", "?account=lab&account=hunter2", "?account=lab&secret=hunter2", "#hunter2"],
)
def test_what_stands_behind_a_prefix_is_an_account_or_nothing(query: str) -> None:
    with pytest.raises(SettingsError, match=r"expected \?account=NAME or nothing behind s3://images/new") as told:
        open_source(f"s3://images/new{query}", with_accounts(lab=LAB), [])
    assert "hunter2" not in str(told.value)
