"""The kinds of buckets that images come from, and the accounts that they are read with."""

import json
from base64 import b64encode
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

_ENDPOINT = r"^https?://[^/\s@]+(/[^\s@]*)?$"


class BucketKind(NamedTuple):
    """What one kind of bucket is called.

    Args:
        service: OpenDAL's name for it.
        bucket: OpenDAL's option for the bucket's name.
        environment: where the key of a source without an account comes from; None where it must have an account.
    """

    service: str
    bucket: str
    environment: str | None


# By the scheme of a source's URL, which is also the `kind` of its account.
KINDS = {
    "s3": BucketKind("s3", "bucket", "AWS_..."),
    "gs": BucketKind("gcs", "bucket", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": BucketKind("azblob", "container", None),
}


class _Account(BaseModel):
    """The fields have the names of OpenDAL's options."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def options(self) -> dict[str, str]:
        """The fields that are set, secrets in plain text."""
        given = self.model_dump(exclude={"kind"}, exclude_none=True)
        return {name: each.get_secret_value() if isinstance(each, SecretStr) else each for name, each in given.items()}


class S3Account(_Account):
    """An S3 server and a key."""

    kind: Literal["s3"]
    endpoint: str = Field(pattern=_ENDPOINT)
    access_key_id: str = Field(min_length=1)
    secret_access_key: SecretStr = Field(min_length=1)
    region: str = "us-east-1"


class GoogleAccount(_Account):
    """A key file of Google Cloud: its JSON in the settings, base64 in `credential`."""

    kind: Literal["gs"]
    credential: SecretStr
    endpoint: str = Field("https://storage.googleapis.com", pattern=_ENDPOINT)

    @field_validator("credential", mode="before")
    @classmethod
    def _encoded(cls, value: object) -> str:
        if not isinstance(value, dict) or "type" not in value:
            raise ValueError('expected the content of a key file, {"type": "service_account", ...}')
        return b64encode(json.dumps(value).encode()).decode()


class AzureAccount(_Account):
    """A storage account of Azure, and its key or a shared access signature."""

    kind: Literal["az"]
    account_name: str = Field(pattern=r"^[a-z0-9]{3,24}$")
    account_key: SecretStr | None = Field(None, min_length=1)
    sas_token: SecretStr | None = Field(None, min_length=1)
    endpoint: str | None = Field(None, pattern=_ENDPOINT)

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.account_key is None) == (self.sas_token is None):
            raise ValueError("expected either account_key or sas_token")
        return self

    def options(self) -> dict[str, str]:
        return {"endpoint": f"https://{self.account_name}.blob.core.windows.net"} | super().options()


BucketAccount = Annotated[S3Account | GoogleAccount | AzureAccount, Field(discriminator="kind")]


def parse_accounts(text: str) -> dict[str, BucketAccount]:
    """The accounts in MYCOFLOW_INGEST_ACCOUNTS by their names.

    Raises: ValueError, saying what is wrong where, without any value: one may be a key.
    """
    try:
        return TypeAdapter(dict[str, BucketAccount]).validate_json(text)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}" for each in error.errors()]
        raise ValueError(
            'expected JSON: {"NAME": {"kind": "s3", "endpoint": "https://host", "access_key_id": "...", '
            '"secret_access_key": "..."}}, or {"kind": "gs", "credential": {a key file}}, or {"kind": "az", '
            f'"account_name": "...", "account_key" or "sas_token": "..."}}. {"; ".join(wrong)}'
        ) from None
