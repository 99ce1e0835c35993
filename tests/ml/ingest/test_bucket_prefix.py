"""What a prefix of a bucket offers: of S3, Google Cloud and Azure, on servers that really listen."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml.catalog.database import Catalog
from ml.catalog.images.batches import load_batch, load_files
from ml.catalog.tables import ingest_batches
from ml.deadlines import Deadline
from ml.errors import InvalidImageError, SourceError, SourceUnavailableError
from ml.ingest.intake import BatchRules, ingest_source
from ml.ingest.pictures.picture_limits import INGESTION
from ml.ingest.sources import bucket_prefix
from ml.ingest.sources.arrivals import ArrivedFile, Source
from ml.ingest.sources.opening import open_source
from ml.settings import Settings
from tests.ml.dropping import settle
from tests.ml.ingest.buckets import (
    AZURE_KEY,
    AZURE_NAME,
    Bucket,
    azure_bucket,
    azure_token,
    google_bucket,
    google_credential,
    running_azurite,
    s3_bucket,
    token_server,
    with_accounts,
)
from tests.seaweedfs import SeaweedFS, running_seaweedfs

Drop = Callable[[dict[str, list[int]]], Path]
RULES = BatchRules(require_certification=True, quarantine_share=0.3)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_prefix, "_RETRY_SECONDS", 0.01)


@pytest.fixture
def s3() -> Iterator[Bucket]:
    with s3_bucket() as bucket:
        yield bucket


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Bucket]:
    with google_bucket(tmp_path) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_azurite(tmp_path_factory.mktemp("azurite")) as endpoint:
        yield endpoint


@pytest.fixture
def azure(azurite: str) -> Bucket:
    return azure_bucket(azurite)


@pytest.fixture(params=["s3", "google", "azure"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    found: Bucket = request.getfixturevalue(request.param)
    return found


def opened(bucket: Bucket, prefix: str = "") -> Source:
    return open_source(bucket.url(prefix), bucket.settings(), [])


def offered(bucket: Bucket, prefix: str = "") -> dict[str, ArrivedFile]:
    return {file.name: file for file in opened(bucket, prefix).files()}


def stated(files: dict[str, ArrivedFile]) -> dict[str, tuple[str | None, str | None]]:
    return {name: (file.label, file.group) for name, file in files.items()}


def test_a_prefix_offers_what_a_folder_does(drop_folder: Drop, bucket: Bucket) -> None:
    folder = drop_folder({"a": [1, 2], "b": [3]})
    (folder / "groups.csv").write_text("file,group\na/001.png,walk 7\n")
    (folder / ".hidden").write_text("-")
    (folder / "notes.txt").write_text("-")
    bucket.upload(settle(folder), "new")
    bucket.put("newer/a/009.png", b"beside the prefix")
    bucket.put("new/b/deep/er.png", b"too deep")
    bucket.put("new/.trash/a.png", b"hidden")
    in_folder = {file.name: file for file in open_source(str(folder), Settings(), []).files()}
    found = offered(bucket, "new")
    assert stated(found) == stated(in_folder) | {"b/deep/er.png": (None, None)}
    assert found["a/001.png"].read() == (folder / "a" / "001.png").read_bytes()


def test_a_whole_bucket_may_be_a_source(bucket: Bucket) -> None:
    bucket.put("a/1.png", b"1")
    assert stated(offered(bucket)) == {"a/1.png": ("a", None)}


def test_an_empty_prefix_offers_nothing(bucket: Bucket) -> None:
    bucket.put("new/a/1.png", b"1")
    assert offered(bucket, "ne") == {}


def test_what_marks_a_folder_is_no_file(s3: Bucket) -> None:
    s3.put("new/", b"")
    s3.put("new/a/", b"")
    assert offered(s3, "new") == {}


@pytest.mark.parametrize("name", ["a b.png", "a%20b.png", "a#b?c&d=e.png", "a+b.png", "å.png", "「き」.png", 'a"b.png'])
def test_an_object_of_any_name_is_read(name: str, s3: Bucket, google: Bucket) -> None:
    for bucket in (s3, google):
        bucket.put(f"new/a/{name}", name.encode())
        assert offered(bucket, "new")[f"a/{name}"].read() == name.encode()


def test_an_object_of_any_name_is_read_from_azure(azure: Bucket) -> None:
    names = ["a b.png", "a%20b.png", "a#b?c&d=e.png", "a+b.png", "å.png", "「き」.png"]
    for name in names:
        azure.put(f"new/a/{name}", name.encode())
    found = offered(azure, "new")
    assert {name: found[f"a/{name}"].read().decode() for name in names} == {name: name for name in names}


def test_an_object_that_cannot_be_addressed_keeps_no_other_from_coming(bucket: Bucket) -> None:
    bucket.put("new/a/1.png", b"1")
    bucket.put("new/a//2.png", b"2")
    found = offered(bucket, "new")
    assert stated(found) == {"a/1.png": ("a", None), "a//2.png": (None, None)}
    with pytest.raises(InvalidImageError, match="rename the object") as refusal:
        found["a//2.png"].read()
    assert refusal.value.reason == "missing"
    assert found["a/1.png"].read() == b"1"


@pytest.mark.parametrize("part", ["..", ".", "\x01"])
def test_a_key_that_looks_like_a_path_keeps_no_other_from_coming(part: str, s3: Bucket) -> None:
    s3.put("new/a/1.png", b"1")
    s3.put(f"new/{part}/1.png", b"2")
    assert offered(s3, "new")["a/1.png"].read() == b"1"


def test_every_page_of_a_list_is_read(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    for number in range(5):
        s3.put(f"new/a/{number}.png", b"1")
    assert sorted(offered(s3, "new")) == [f"a/{number}.png" for number in range(5)]


def test_a_prefix_is_taken_in_once_and_a_changed_object_again(
    catalog: Catalog, drop_folder: Drop, bucket: Bucket
) -> None:
    bucket.upload(drop_folder({"a": [1, 2], "b": [3]}), "new")
    source = opened(bucket, "new")
    (first,) = ingest_source(catalog, source, RULES, Deadline(60))
    assert ingest_source(catalog, source, RULES, Deadline(60)) == []
    bucket.put("new/a/001.png", (drop_folder({"a": [4]}) / "a" / "004.png").read_bytes())
    (second,) = ingest_source(catalog, source, RULES, Deadline(60))
    assert second > first


def test_an_object_that_is_gone_or_too_large_is_refused_alone(bucket: Bucket) -> None:
    bucket.put("a/gone.png", b"1")
    bucket.put("a/large.png", bytes(INGESTION.bytes + 1))
    found = offered(bucket)
    bucket.delete("a/gone.png")
    with pytest.raises(InvalidImageError) as refusal:
        found["a/gone.png"].read()
    assert refusal.value.reason == "missing"
    with pytest.raises(InvalidImageError) as refusal:
        found["a/large.png"].read()
    assert refusal.value.reason == "too_large"


def test_an_object_that_is_refused_keeps_no_other_from_coming_and_is_asked_for_again(
    catalog: Catalog, drop_folder: Drop, s3: Bucket
) -> None:
    s3.upload(drop_folder({"a": [1, 2, 3, 4, 5, 6, 7, 8]}), "new")
    for number in range(1, 7):  # an archive answers 403
        s3.archive(f"new/a/00{number}.png")
    source = opened(s3, "new")
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


def test_a_bucket_that_is_not_there_is_no_reason_to_try_again(bucket: Bucket) -> None:
    url = bucket.url("new", name="nowhere")
    with pytest.raises(SourceError, match=f"Could not read {bucket.kind}://nowhere/new.*check MYCOFLOW_INGEST_SOURCES"):
        list(open_source(url, bucket.settings(), []).files())


def test_a_server_that_is_not_there_may_come_back(bucket: Bucket) -> None:
    settings = bucket.settings(endpoint="http://127.0.0.1:1/x")
    with pytest.raises(SourceUnavailableError, match=r"Could not reach .*Connection refused.*account 'lab'"):
        list(open_source(bucket.url("new"), settings, []).files())


def test_a_server_that_goes_away_is_told_of_each_object(s3: Bucket) -> None:
    with s3_bucket() as going:
        going.put("a/1.png", b"1")
        found = offered(going)
    with pytest.raises(InvalidImageError, match="Connection refused") as refusal:
        found["a/1.png"].read()
    assert refusal.value.reason == "unreachable"


# What no emulator answers. The accounts are complete; nothing but the status comes back.
ACCOUNTS = {
    "s3": {"access_key_id": "key", "secret_access_key": "s3cret"},
    "gs": {},
    "az": {"account_name": AZURE_NAME, "account_key": AZURE_KEY},
}


@pytest.mark.parametrize("kind", ACCOUNTS)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, SourceError),
        (400, SourceError),
        (401, SourceError),
        (403, SourceError),
        (409, SourceError),
        (429, SourceUnavailableError),
        (503, SourceUnavailableError),
    ],
)
def test_a_refusal_is_told_and_a_fault_of_the_server_is_tried_again(
    kind: str, status: int, error: type[Exception], serve_script: Callable[..., int], tmp_path: Path
) -> None:
    asked = []

    def answer(path: str, connection: socket.socket) -> None:
        asked.append(path)
        connection.sendall(b"HTTP/1.1 %d Status\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % status)

    with token_server(200) as token_url:
        key = {"credential": google_credential(token_url, tmp_path)} if kind == "gs" else ACCOUNTS[kind]
        account = {"kind": kind, "endpoint": f"http://127.0.0.1:{serve_script(answer)}"} | key
        with pytest.raises(error, match=f"{kind}://images/new.*account 'lab' of MYCOFLOW_INGEST_ACCOUNTS") as told:
            list(open_source(f"{kind}://images/new?account=lab", with_accounts(lab=account), []).files())
    assert len(asked) == (1 if error is SourceError else 3)
    assert "s3cret" not in str(told.value)
    assert told.value.__cause__ is None  # OpenDAL's own text has the request and a stack of addresses


def test_a_server_that_hangs_is_left_after_a_time(
    serve_script: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_prefix, "_TIMEOUT_SECONDS", 0.2)
    stopped = threading.Event()
    port = serve_script(lambda path, connection: stopped.wait(30) and None)
    account = {"kind": "s3", "endpoint": f"http://127.0.0.1:{port}"} | ACCOUNTS["s3"]
    try:
        with pytest.raises(SourceUnavailableError, match="timeout"):
            list(open_source("s3://images?account=lab", with_accounts(lab=account), []).files())
    finally:
        stopped.set()


def test_a_key_that_google_refuses_is_told(google: Bucket, tmp_path: Path) -> None:
    with token_server(400) as token_url:
        settings = google.settings(credential=google_credential(token_url, tmp_path))
        with pytest.raises(SourceError, match=r"credential.*account 'lab' of MYCOFLOW_INGEST_ACCOUNTS") as told:
            list(open_source(google.url(), settings, []).files())
    assert "s3cret" not in str(told.value)


def test_a_machines_own_key_does_not_replace_an_accounts(
    google: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with token_server(200) as of_the_machine, token_server(400) as of_the_account:
        key_file = tmp_path / "key.json"
        key_file.write_text(json.dumps(google_credential(of_the_machine, tmp_path)))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
        settings = google.settings(credential=google_credential(of_the_account, tmp_path))
        with pytest.raises(SourceError, match="credential"):
            list(open_source(google.url(), settings, []).files())


def test_a_signature_of_azure_is_a_key_too_and_goes_no_further(azure: Bucket) -> None:
    azure.put("a/1.png", b"1")
    signed = {key: value for key, value in azure.account.items() if key != "account_key"}
    settings = with_accounts(lab=signed | {"sas_token": azure_token("rl")})
    (found,) = open_source(azure.url(), settings, []).files()
    assert found.read() == b"1"
    azure.delete("a/1.png")
    with pytest.raises(InvalidImageError) as gone:
        found.read()
    refused = with_accounts(lab=signed | {"sas_token": azure_token("rl").replace("sig=", "sig=hunter2")})
    with pytest.raises(SourceError, match=r"AuthorizationFailure.*account 'lab'") as told:
        list(open_source(azure.url(), refused, []).files())
    assert "sig=" not in f"{gone.value} {told.value}"


@pytest.mark.parametrize(("key", "expected"), [("aHVudGVyMg==", "AuthorizationFailure"), ("no base64!", "base64")])
def test_a_wrong_key_of_azure_is_told(key: str, expected: str, azure: Bucket) -> None:
    with pytest.raises(SourceError, match=f"{expected}.*account 'lab' of MYCOFLOW_INGEST_ACCOUNTS") as told:
        list(open_source(azure.url(), azure.settings(account_key=key), []).files())
    assert key not in str(told.value)


def test_without_an_account_the_key_comes_from_the_environment(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("a/1.png", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.account["endpoint"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    source = open_source(f"s3://{s3.name}", Settings(), [])
    assert source.url == f"s3://{s3.name}"
    assert [file.read() for file in source.files()] == [b"1"]
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(SourceError, match=r"region is missing.*the environment \(AWS_\.\.\.\)"):
        list(open_source(f"s3://{s3.name}", Settings(), []).files())


def test_without_any_key_of_google_its_variable_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(SourceError, match=r"Could not read gs://images/new.*GOOGLE_APPLICATION_CREDENTIALS"):
        list(open_source("gs://images/new", Settings(), []).files())


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """An S3 server that checks keys, and has the bucket `images`."""
    secrets = {name: f"{name}-of-the-lab" for name in ("admin", "images", "models")}
    with running_seaweedfs(tmp_path_factory.mktemp("lab"), secrets) as started:
        started.client("admin").create_bucket(Bucket="images")
        yield started


def account(lab: SeaweedFS, name: str, **changed: str) -> dict[str, str]:
    key = {"endpoint": lab.endpoint, "access_key_id": name, "secret_access_key": lab.secrets[name]}
    return {"kind": "s3"} | key | changed


def test_each_source_is_read_at_its_own_server_with_its_own_key(
    catalog: Catalog, drop_folder: Drop, s3: Bucket, lab: SeaweedFS
) -> None:
    folder = drop_folder({"a": [1, 2]})
    s3.put("new/a/1.png", (folder / "a" / "001.png").read_bytes())
    lab.client("admin").create_bucket(Bucket=s3.name)
    lab.client("admin").put_object(Bucket=s3.name, Key="new/a/1.png", Body=(folder / "a" / "002.png").read_bytes())
    settings = with_accounts(lab=s3.account, seaweed=account(lab, "admin"), other=account(lab, "models"))
    url = f"s3://{s3.name}/new?account"
    here, there = (open_source(f"{url}={name}", settings, []) for name in ("lab", "seaweed"))
    assert next(iter(here.files())).read() == (folder / "a" / "001.png").read_bytes()
    assert next(iter(there.files())).read() == (folder / "a" / "002.png").read_bytes()

    # The same bucket and key on another server is another file.
    assert len(ingest_source(catalog, here, RULES, Deadline(60))) == 1
    assert len(ingest_source(catalog, there, RULES, Deadline(60))) == 1
    assert ingest_source(catalog, there, RULES, Deadline(60)) == []
    with pytest.raises(SourceError, match=r"AccessDenied.*account 'other' of MYCOFLOW_INGEST_ACCOUNTS"):
        list(open_source(f"{url}=other", settings, []).files())


@pytest.mark.parametrize(
    ("changed", "expected"),
    [({"secret_access_key": "hunter2"}, "SignatureDoesNotMatch"), ({"access_key_id": "nobody"}, "InvalidAccessKeyId")],
)
def test_an_account_that_does_not_work_is_named_and_its_key_is_not(
    changed: dict[str, Any], expected: str, lab: SeaweedFS
) -> None:
    settings = with_accounts(lab=account(lab, "images", **changed))
    with pytest.raises(SourceError, match=expected) as told:
        list(open_source("s3://images/new?account=lab", settings, []).files())
    assert "account 'lab' of MYCOFLOW_INGEST_ACCOUNTS" in str(told.value)
    assert "hunter2" not in str(told.value)
    assert lab.secrets["images"] not in str(told.value)
