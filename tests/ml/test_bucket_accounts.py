"""Accounts of buckets: their JSON, and the options that OpenDAL gets."""

import base64
import json
from typing import Any

import pytest

from ml.bucket_accounts import parse_accounts

S3 = {"kind": "s3", "endpoint": "https://s3.lab.example", "access_key_id": "key", "secret_access_key": "s3cret"}
GOOGLE: dict[str, Any] = {"kind": "gs", "credential": {"type": "service_account", "private_key": "s3cret"}}
AZURE = {"kind": "az", "account_name": "labphotos", "account_key": "s3cret"}
SIGNED = {"kind": "az", "account_name": "labphotos", "sas_token": "sv=2020&sig=s3cret"}


def options(account: dict[str, Any]) -> dict[str, str]:
    return parse_accounts(json.dumps({"lab": account}))["lab"].options()


def test_accounts_of_all_kinds_stand_side_by_side() -> None:
    accounts = parse_accounts(json.dumps({"lab": S3, "field station": GOOGLE, "herbarium": AZURE, "guests": SIGNED}))
    assert [account.kind for account in accounts.values()] == ["s3", "gs", "az", "az"]
    assert "s3cret" not in repr(accounts)


def test_an_account_of_s3_is_of_another_region_where_it_says_so() -> None:
    expected = {"endpoint": "https://s3.lab.example", "access_key_id": "key", "secret_access_key": "s3cret"}
    assert options(S3) == expected | {"region": "us-east-1"}
    assert options(S3 | {"region": "eu-central-1"}) == expected | {"region": "eu-central-1"}


def test_a_key_file_of_google_is_written_as_it_is() -> None:
    given = options(GOOGLE)
    assert json.loads(base64.b64decode(given.pop("credential"))) == GOOGLE["credential"]
    assert given == {"endpoint": "https://storage.googleapis.com"}


def test_an_account_of_azure_is_at_azure_where_it_has_no_endpoint() -> None:
    at_azure = "https://labphotos.blob.core.windows.net"
    assert options(AZURE) == {"account_name": "labphotos", "account_key": "s3cret", "endpoint": at_azure}
    assert options(SIGNED)["sas_token"] == "sv=2020&sig=s3cret"
    assert (
        options(AZURE | {"endpoint": "http://azurite:10000/labphotos"})["endpoint"] == "http://azurite:10000/labphotos"
    )


@pytest.mark.parametrize(
    ("written", "where"),
    [
        ("hunter2", "the whole: "),
        ('["hunter2"]', "the whole: "),
        ('{"lab": "hunter2"}', "lab: "),
        (json.dumps({"lab": {"kind": "ftp", "password": "hunter2"}}), "lab: "),
        (json.dumps({"lab": {key: value for key, value in S3.items() if key != "kind"}}), "lab: "),
        (
            json.dumps({"lab": {key: S3[key] for key in ("kind", "endpoint", "access_key_id")}}),
            "s3.secret_access_key: ",
        ),
        (json.dumps({"lab": S3 | {"access_key_id": "", "secret_access_key": "hunter2"}}), "lab.s3.access_key_id: "),
        (json.dumps({"lab": S3 | {"secret_access_key": ""}}), "lab.s3.secret_access_key: "),
        (json.dumps({"lab": S3 | {"endpoint": "host:9000"}}), "lab.s3.endpoint: "),
        (json.dumps({"lab": S3 | {"endpoint": "https://key:hunter2@host"}}), "lab.s3.endpoint: "),
        (json.dumps({"lab": S3 | {"zone": "hunter2"}}), "lab.s3.zone: "),
        (json.dumps({"lab": GOOGLE | {"credential": "hunter2"}}), "lab.gs.credential: "),
        (json.dumps({"lab": GOOGLE | {"credential": {"private_key": "hunter2"}}}), "lab.gs.credential: "),
        (json.dumps({"lab": AZURE | {"sas_token": "hunter2"}}), "lab.az: "),
        (json.dumps({"lab": {"kind": "az", "account_name": "labphotos"}}), "lab.az: "),
        (json.dumps({"lab": AZURE | {"account_name": "lab.example/"}}), "lab.az.account_name: "),
    ],
)
def test_a_wrong_account_is_told_without_its_key(written: str, where: str) -> None:
    with pytest.raises(ValueError, match="expected JSON") as told:
        parse_accounts(written)
    assert where in str(told.value)
    assert "hunter2" not in str(told.value)
    assert "s3cret" not in str(told.value)
