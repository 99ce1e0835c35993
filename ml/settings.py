"""One typed Settings object, read from the environment and from `.env`."""

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, NoDecode, SettingsConfigDict

from ml.errors import SettingsError

PREFIX = "MYCOFLOW_"
STACK_MARK = f"{PREFIX}STACK"  # no setting: what `make up` marks its processes with

_RATE = r"^[1-9]\d* per ([1-9]\d* )?(second|minute|hour|day)s?$"
_HTTP = r"^https?://[^/\s]"
_ADDRESS = re.compile(r"\s*[A-Za-z][\w.+-]*://\S")
# Kubernetes and Docker tell a container of the services beside it, in variables of the services' names: of "mlflow" in
# MLFLOW_PORT=tcp://10.0.0.7:5000, of "mycoflow-web" in MYCOFLOW_WEB_SERVICE_HOST.
_LINK = re.compile(r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?")
_LINK_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class Settings(BaseSettings):
    """What a deployment may choose. Names in the environment are these, upper case, after MYCOFLOW_.

    Three have a name of their own there: MYCOFLOW_HOME, and those that other programs read too. Secrets come from
    nowhere else.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_by_name=True,
        loc_by_alias=False,
    )

    mycoflow_home: Path = Field(Path("var"), validation_alias="MYCOFLOW_HOME", description="Folder of all local state")
    database_url: SecretStr | None = Field(
        None, validation_alias="DATABASE_URL", description="PostgreSQL; the embedded server when empty"
    )
    image_store: str | None = Field(None, description="Folder or s3://bucket/prefix; a folder under home when empty")
    mlflow_tracking_uri: str | None = Field(
        None, validation_alias="MLFLOW_TRACKING_URI", description="MLflow; the embedded database when empty"
    )
    mlflow_public_url: str | None = Field(
        None, pattern=_HTTP, description="Where people reach MLflow; MLFLOW_TRACKING_URI when that is a web address"
    )

    task: str = Field("classification", description="What models are trained for; a home keeps it")
    model_name: str = Field(
        "mycoflow", pattern=r"^[\w.-]+$", description="The registered model's name in MLflow; a home keeps it"
    )

    accuracy_floor: float = Field(0.70, ge=0, le=1, description="Retrain below this accuracy")
    class_floors: Annotated[dict[str, float], NoDecode] = Field(
        {}, description='Retrain below this recall of a class; JSON: {"amanita": 0.8}'
    )
    new_images_threshold: int = Field(500, ge=1, description="Retrain at this many new pool images")
    review_interval_days: int = Field(30, ge=0, description="Retrain when the model is so old; 0 never")
    snapshot_size: int = Field(1000, ge=2, description="Newest pool images in a snapshot")
    validation_ratio: float = Field(0.20, gt=0, lt=1, description="Share of groups in the validation fold")
    harvest_confidence: float = Field(0.70, ge=0, le=1, description="Keep predictions above this for retraining")
    harvest_share: float = Field(0.30, ge=0, lt=1, description="Most harvested labels per class of a snapshot")
    image_size: int = Field(160, ge=32, le=512, description="Side of the network's square input, pixels")
    backbone: str | None = Field(None, description="Network that gives the features; the home's when empty")
    weights: str | None = Field(
        None, description="imagenet, bundled, random, or a .weights.h5 file; chosen once for the home when empty"
    )
    model_precision: Literal["int8", "fp32"] = Field("int8", description="Arithmetic of the served backbone")
    int8_minimum_agreement: float = Field(
        0.98, ge=0, le=1, description="int8 is refused below this share of equal names"
    )
    mirrored_views: bool = Field(True, description="Train on mirrored images too; not where left and right differ")
    training_budget_minutes: float = Field(30, gt=0, description="A training run stops here, best weights kept")
    activations_limit_gb: float = Field(4, gt=0, description="Disk space that fine-tuning may use under home")

    promotion: Literal["auto", "approve"] = Field(
        "auto", description="approve: what passes the gate waits for a person"
    )

    alert_urls: SecretStr | None = Field(None, description="Where alerts go, as Apprise reads it; comma-separated")

    grafana_url: str | None = Field(None, pattern=_HTTP, description="Grafana, for dashboards and annotations")
    grafana_token: SecretStr | None = Field(None, description="Token of a service account with the role Editor")

    retention_days_images: int = Field(90, ge=1, description="`mycoflow purge` keeps images only predicted this long")
    retention_days_logs: int = Field(365, ge=1, description="... and predictions and events")
    retention_model_versions: int = Field(10, ge=1, description="... and files of so many of the newest versions")

    ingest_sources: str = Field("", description="URLs that images are taken in from every hour, comma-separated")
    require_certification: bool = Field(True, description="What sources bring waits for an admin's certificate")
    quarantine_share: float = Field(0.30, ge=0, le=1, description="A batch with more rejects than this waits")

    airflow_url: str | None = Field(None, pattern=_HTTP, description="Airflow's api-server, for triggering runs")
    airflow_public_url: str | None = Field(
        None, pattern=_HTTP, description="Where people reach Airflow; MYCOFLOW_AIRFLOW_URL when empty"
    )
    public_url: str | None = Field(None, pattern=_HTTP, description="Where people reach the service, for links")
    runbook_url: str | None = Field(
        None, pattern=_HTTP, description="Where people read docs/operations.md, for links to a heading of it"
    )
    airflow_username: str | None = None
    airflow_password: SecretStr | None = None

    metrics_host: str = Field("127.0.0.1", description="Address that the service's /metrics listens on")
    metrics_port: int = Field(9100, ge=0, le=65535, description="Port of the service's /metrics")
    readiness: Literal["any", "production"] = Field(
        "any",
        description="production: not ready while the version in production does not load and an older one answers",
    )
    alias_poll_seconds: float = Field(5, gt=0, description="How often the service looks for a new champion")

    token_hours: float = Field(12, gt=0, le=24 * 365, description="A bearer token is good for this long")
    rate_limit: str = Field("600 per minute", pattern=_RATE, description="Requests per account, or per address")
    login_rate_limit: str = Field("10 per minute", pattern=_RATE, description="Passwords checked per account")
    login_rate_limit_per_address: str = Field("30 per minute", pattern=_RATE, description="The same, per address")
    rate_limit_storage: SecretStr = Field(SecretStr("memory://"), description="memory://, or redis:// to share counts")
    trusted_proxies: int = Field(0, ge=0, description="Proxies in front whose X-Forwarded-For and -Proto are believed")

    fetch_allowed_hosts: str = Field("", description="host or host:port, ...: images may come from any address there")
    model_queue_size: int = Field(12, ge=1, description="Predictions under way at once; more are told to come back")
    request_seconds: float = Field(30, gt=0, description="A prediction that takes longer is given up")

    # Of `make up` alone.
    airflow_port: int = Field(8080, ge=1, le=65535, description="Airflow's pages and REST API")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="MLflow's pages")
    service_port: int = Field(8000, ge=1, le=65535, description="The prediction service")
    prometheus_port: int = Field(9090, ge=0, le=65535, description="Prometheus, where it is installed; 0 none")

    # `mycoflow migrate` gives these roles a login when a password is set; without one they cannot log in.
    database_web_password: SecretStr | None = None
    database_training_password: SecretStr | None = None
    database_grafana_password: SecretStr | None = None

    @field_validator("mycoflow_home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("class_floors", mode="before")
    @classmethod
    def _named_shares(cls, value: Any) -> dict[str, float]:
        """JSON, since a class's name may hold any sign that another format would divide it at."""
        try:
            floors = json.loads(value) if isinstance(value, str) else value
        except json.JSONDecodeError:
            floors = None
        if isinstance(floors, dict) and all(_is_share(floor) for floor in floors.values()):
            return floors
        raise ValueError('expected a recall from 0 to 1 for each class, as JSON: {"amanita": 0.8, "boletus": 0.75}')

    @field_validator("weights")
    @classmethod
    def _known_weights(cls, value: str | None) -> str | None:
        if value is None or value in ("imagenet", "bundled", "random") or value.endswith(".weights.h5"):
            return value
        raise ValueError(f"expected imagenet, bundled, random or a path ending in .weights.h5, got {value!r}")

    @field_validator("rate_limit_storage")
    @classmethod
    def _known_storage(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme == "memory" or (parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0):
            return value
        raise ValueError("expected memory:// or redis://user:password@host:port/number")

    @field_validator("alert_urls")
    @classmethod
    def _like_addresses(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or _ADDRESS.match(value.get_secret_value()):
            return value
        raise ValueError("expected addresses as Apprise reads them, such as ntfy://topic, separated by commas")


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment and `.env`.

    Args: overrides, values that win over both.
    Raises: SettingsError, naming each setting that is wrong, what was expected and what came, and each name that is
        none, and the one to take.
    """
    wrong = list_wrong_names()
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise wrong_settings(wrong + describe_errors(error)) from error
    if wrong:
        raise wrong_settings(wrong)
    return settings


def wrong_settings(lines: list[str]) -> SettingsError:
    """The one error for all that is wrong, a line each."""
    return SettingsError("Wrong settings:\n  " + "\n  ".join(lines))


def describe_errors(error: ValidationError) -> list[str]:
    """Say of each setting that is wrong what was expected and, unless it is secret, what came."""
    return [f"{variable(str(each['loc'][0]))}: {each['msg']}{_what_came(each)}" for each in error.errors()]


def _what_came(error: ErrorDetails) -> str:
    is_secret = "SecretStr" in str(Settings.model_fields[str(error["loc"][0])].annotation)
    return "" if is_secret else f" (got {error['input']!r})"


def variable(name: str) -> str:
    """What a setting is called in the environment and in `.env`.

    Args: name, of an attribute of Settings.
    """
    own = Settings.model_fields[name].validation_alias
    return own if isinstance(own, str) else f"{PREFIX}{name.upper()}"


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without any setting, under its name or its former one."""
    ours = {variable(name) for name in Settings.model_fields} | _former_names().keys()
    return {name: value for name, value in environment.items() if name not in ours and not name.startswith(PREFIX)}


def list_wrong_names() -> list[str]:
    """Say which names in the environment and in `.env` no setting has, though one was meant, and which to take.

    Those are a setting's name from before all had the prefix, and any other name with the prefix. Values are not told.
    """
    found = _all_variables()
    lines = [_say_former(name, new) for name, new in _former_names().items() if found.get(name) and new not in found]
    known = {variable(name) for name in Settings.model_fields} | {STACK_MARK}
    lines += [_say_unknown(name) for name in found if name.startswith(PREFIX) and found[name] and name not in known]
    return sorted(lines)


def _all_variables() -> dict[str, str | None]:
    """As pydantic reads them: names in any case, the environment before `.env`."""
    sources = [each(Settings, env_ignore_empty=False) for each in (DotEnvSettingsSource, EnvSettingsSource)]
    read = {name.upper(): value for source in sources for name, value in source.env_vars.items()}
    return {
        name: value
        for name, value in read.items()
        if not _LINK.fullmatch(name) and not _LINK_ADDRESS.match(value or "")
    }


def _former_names() -> dict[str, str]:
    """The names that settings had before all had the prefix, and what they are now."""
    names = {name.upper(): variable(name) for name in Settings.model_fields}
    return {former: now for former, now in names.items() if former != now}


def _say_former(former: str, now: str) -> str:
    return (
        f"{former}: the setting is called {now} now. Rename it; where another program reads {former}, set {now} "
        "beside it, empty for the default."
    )


def _say_unknown(name: str) -> str:
    names = {each.removeprefix(PREFIX): each for each in (variable(field) for field in Settings.model_fields)}
    near = get_close_matches(name.removeprefix(PREFIX), names, n=1)
    return f"{name}: no setting has this name. " + (
        f"The nearest is {names[near[0]]}." if near else "README.md lists them under Settings."
    )
