"""From URLs to sources, and what a folder and an S3 prefix offer."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.batches import load_batch, load_files
from ml.catalog.tables import ingest_batches
from ml.deadlines import Deadline
from ml.errors import InvalidImageError, SettingsError, SourceError, SourceUnavailableError
from ml.ingest.intake import BatchRules, ingest_source
from ml.ingest.sources.arrivals import ArrivedFile, Source
from ml.ingest.sources.opening import open_source, source_urls
from ml.settings import Settings
from tests.ml.dropping import settle
from tests.seaweedfs import SeaweedFS, running_seaweedfs

Drop = Callable[[dict[str, list[int]]], Path]
RULES = BatchRules(require_certification=True, quarantine_share=0.3)


def opened(url: str) -> Source:
    return open_source(url, Settings(), [])


def offered(url: str) -> dict[str, ArrivedFile]:
    return {file.name: file for file in opened(url).files()}


def stated(url: str) -> dict[str, tuple[str | None, str | None]]:
    return {name: (file.label, file.group) for name, file in offered(url).items()}


def upload(bucket: Any, folder: Path, prefix: str) -> str:
    for file in folder.rglob("*"):
        if file.is_file():
            bucket.put_object(Key=f"{prefix}/{file.relative_to(folder).as_posix()}", Body=file.read_bytes())
    return f"s3://{bucket.name}/{prefix}"


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
        "file://host/photos",
        "file://",
        "gbif+https://host",
        "inaturalist://host",
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


def test_a_prefix_offers_what_a_folder_does(drop_folder: Drop, s3_bucket: Any) -> None:
    folder = drop_folder({"a": [1, 2], "b": [3]})
    (folder / "groups.csv").write_text("file,group\na/001.png,walk 7\n")
    (folder / ".hidden").write_text("")
    (folder / "notes.txt").write_text("")
    url = upload(s3_bucket, settle(folder), "new")
    s3_bucket.put_object(Key="newer/a/009.png", Body=b"beside the prefix")
    s3_bucket.put_object(Key="new/b/deep/er.png", Body=b"too deep")
    s3_bucket.put_object(Key="new/empty/", Body=b"")
    assert stated(url) == stated(str(folder)) | {"b/deep/er.png": (None, None)}
    assert offered(url)["a/001.png"].read() == (folder / "a" / "001.png").read_bytes()


def test_a_whole_bucket_may_be_a_source(drop_folder: Drop, s3_bucket: Any) -> None:
    s3_bucket.put_object(Key="a/1.png", Body=b"1")
    assert stated(f"s3://{s3_bucket.name}") == {"a/1.png": ("a", None)}


def test_a_prefix_is_taken_in_once_and_a_changed_object_again(
    catalog: Catalog, drop_folder: Drop, s3_bucket: Any
) -> None:
    folder = drop_folder({"a": [1, 2], "b": [3]})
    source = opened(upload(s3_bucket, folder, "new"))
    (first,) = ingest_source(catalog, source, RULES, Deadline(60))
    assert ingest_source(catalog, source, RULES, Deadline(60)) == []
    s3_bucket.put_object(Key="new/a/001.png", Body=(drop_folder({"a": [4]}) / "a" / "004.png").read_bytes())
    (second,) = ingest_source(catalog, source, RULES, Deadline(60))
    assert second > first


def test_an_object_that_is_gone_or_too_large_is_refused_alone(s3_bucket: Any) -> None:
    s3_bucket.put_object(Key="a/gone.png", Body=b"1")
    s3_bucket.put_object(Key="a/large.png", Body=bytes(5_000_000))
    found = offered(f"s3://{s3_bucket.name}")
    s3_bucket.Object("a/gone.png").delete()
    with pytest.raises(InvalidImageError) as refusal:
        found["a/gone.png"].read()
    assert refusal.value.reason == "missing"
    with pytest.raises(InvalidImageError) as refusal:
        found["a/large.png"].read()
    assert refusal.value.reason == "too_large"


def test_an_object_that_is_refused_keeps_no_other_from_coming_and_is_asked_for_again(
    catalog: Catalog, drop_folder: Drop, s3_bucket: Any
) -> None:
    folder = drop_folder({"a": [1, 2, 3, 4, 5, 6, 7, 8]})
    source = opened(upload(s3_bucket, folder, "new"))
    for number in range(1, 7):  # an archive answers 403
        content = (folder / "a" / f"00{number}.png").read_bytes()
        s3_bucket.put_object(Key=f"new/a/00{number}.png", Body=content, StorageClass="GLACIER")
    (first,) = ingest_source(catalog, source, RULES, Deadline(60))
    with catalog.begin() as connection:
        found = [(file.outcome, file.reason) for file in load_files(connection, first)]
        assert not load_batch(connection, first).is_quarantined
    assert found == [("rejected", "refused")] * 6 + [("waiting", "unknown_label")] * 2
    assert ingest_source(catalog, source, RULES, Deadline(60)) == []

    with catalog.begin() as connection:
        connection.execute(sa.update(ingest_batches).values(ingested_at=sa.text("now() - interval '1 day'")))
    with pytest.raises(SourceError, match="refused all 6 of a batch"):
        ingest_source(catalog, source, RULES, Deadline(60))
    with catalog.begin() as connection:
        asked = [file.name for file in load_files(connection, first + 1)]
        assert connection.scalar(sa.text("SELECT count(*) FROM logs.alerts")) == 0
    assert asked == [f"a/00{number}.png" for number in range(1, 7)]


def test_a_bucket_that_is_not_there_is_no_reason_to_try_again(s3_bucket: Any) -> None:
    with pytest.raises(SourceError, match=r"s3://nowhere.*check MYCOFLOW_INGEST_SOURCES"):
        offered("s3://nowhere")


def test_a_server_that_is_not_there_may_come_back(s3_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SourceUnavailableError, match="Could not reach"):
        offered("s3://bucket")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A second S3 server, which checks keys, and has the bucket `images`."""
    secrets = {name: f"{name}-of-the-lab" for name in ("admin", "images", "models")}
    with running_seaweedfs(tmp_path_factory.mktemp("lab"), secrets) as started:
        started.client("admin").create_bucket(Bucket="images")
        yield started


def account(lab: SeaweedFS, name: str, **changed: str) -> dict[str, str]:
    key = {"endpoint": lab.endpoint, "access_key": name, "secret_key": lab.secrets[name]}
    return key | changed


def with_accounts(**accounts: dict[str, str]) -> Settings:
    return Settings(ingest_s3_accounts=json.dumps(accounts))  # type: ignore[arg-type]


def test_each_source_is_read_at_its_own_server_with_its_own_key(
    catalog: Catalog, drop_folder: Drop, s3_bucket: Any, lab: SeaweedFS
) -> None:
    folder = drop_folder({"a": [1, 2]})
    s3_bucket.meta.client.create_bucket(Bucket="images")
    s3_bucket.meta.client.put_object(Bucket="images", Key="new/a/1.png", Body=(folder / "a" / "001.png").read_bytes())
    lab.client("images").put_object(Bucket="images", Key="new/a/1.png", Body=(folder / "a" / "002.png").read_bytes())
    settings = with_accounts(lab=account(lab, "images"), other=account(lab, "models"))
    here = open_source("s3://images/new", settings, [])
    there = open_source("s3://images/new?account=lab", settings, [])
    assert next(here.files()).read() == (folder / "a" / "001.png").read_bytes()
    assert next(there.files()).read() == (folder / "a" / "002.png").read_bytes()

    # The same bucket and key on another server is another file.
    assert len(ingest_source(catalog, here, RULES, Deadline(60))) == 1
    assert len(ingest_source(catalog, there, RULES, Deadline(60))) == 1
    assert ingest_source(catalog, there, RULES, Deadline(60)) == []
    with pytest.raises(SourceError, match=r"AccessDenied.*account 'other' of MYCOFLOW_INGEST_S3_ACCOUNTS"):
        list(open_source("s3://images/new?account=other", settings, []).files())


@pytest.mark.parametrize(
    ("changed", "kind", "expected"),
    [
        ({"secret_key": "hunter2"}, SourceError, "SignatureDoesNotMatch"),
        ({"access_key": "nobody"}, SourceError, "InvalidAccessKeyId"),
        ({"endpoint": "http://127.0.0.1:1"}, SourceUnavailableError, "Could not reach"),
    ],
)
def test_an_account_that_does_not_work_is_named_and_its_key_is_not(
    changed: dict[str, str], kind: type[Exception], expected: str, lab: SeaweedFS
) -> None:
    settings = with_accounts(lab=account(lab, "images", **changed))
    with pytest.raises(kind, match=expected) as told:
        list(open_source("s3://images/new?account=lab", settings, []).files())
    assert "account 'lab' of MYCOFLOW_INGEST_S3_ACCOUNTS" in str(told.value)
    assert "hunter2" not in str(told.value)
    assert lab.secrets["images"] not in str(told.value)


def test_an_account_that_is_not_set_is_a_wrong_setting(lab: SeaweedFS) -> None:
    with pytest.raises(SettingsError, match=r"got 'lob'. It has: lab\."):
        open_source("s3://images/new?account=lob", with_accounts(lab=account(lab, "images")), [])
    with pytest.raises(SettingsError, match=r"got 'lab'. It has: none\."):
        opened("s3://images/new?account=lab")


@pytest.mark.parametrize(
    "query",
    ["?secret_key=hunter2", "?account=lab&account=hunter2", "?account=lab&secret=hunter2", "#hunter2"],
)
def test_what_stands_behind_a_prefix_is_an_account_or_nothing(query: str, lab: SeaweedFS) -> None:
    with pytest.raises(SettingsError, match=r"expected \?account=NAME or nothing behind s3://images/new") as told:
        open_source(f"s3://images/new{query}", with_accounts(lab=account(lab, "images")), [])
    assert "hunter2" not in str(told.value)
