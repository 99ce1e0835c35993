"""One typed Settings object, read from the environment and from `.env`."""

import json
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, NoDecode, SettingsConfigDict

from ml.bucket_accounts import parse_accounts
from ml.errors import SettingsError

PREFIX = "MYCOFLOW_"
LARGEST_IMAGE_SIZE = 512  # pixels
STACK_MARK = f"{PREFIX}STACK"  # no setting: `make up` marks its processes with this variable

HeadSolver = Literal["convex", "adam"]
Precision = Literal["int8", "fp32"]

_RATE = r"^[1-9]\d* per ([1-9]\d* )?(second|minute|hour|day)s?$"
_HTTP = r"^https?://[^/\s]"
_ORIGIN = r"\s*https?://[A-Za-z0-9.-]+(:\d{1,5})?\s*"
_ORIGINS = rf"^({_ORIGIN}(,{_ORIGIN})*)?$"
_ADDRESS = re.compile(r"\s*[A-Za-z][\w.+-]*://\S")
# Kubernetes and Docker give a container variables with the addresses of other services. Their names come from the
# services: MLFLOW_PORT=tcp://10.0.0.7:5000 from "mlflow", MYCOFLOW_WEB_SERVICE_HOST from "mycoflow-web".
_LINK = re.compile(r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?")
_LINK_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class Settings(BaseSettings):
    """The settings of a deployment. A variable's name is MYCOFLOW_ and the attribute's name in upper case.

    Three variables have another name: MYCOFLOW_HOME, and two that other programs read too, DATABASE_URL and
    MLFLOW_TRACKING_URI. Secrets come only from the environment and from `.env`.
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
        None, pattern=_HTTP, description="MLflow's address for people; MLFLOW_TRACKING_URI when that is a web address"
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
    review_interval_days: int = Field(30, ge=0, description="Retrain when the model is this old; 0 for never")
    snapshot_size: int | None = Field(
        None,
        ge=2,
        description="Number of pool images in a snapshot, the newest first; grows with the classes when empty",
    )
    validation_ratio: float = Field(0.20, gt=0, lt=1, description="Share of groups in the validation fold")
    harvest_confidence: float = Field(0.70, ge=0, le=1, description="Harvest predictions above this confidence")
    harvest_share: float = Field(
        0.30, ge=0, lt=1, description="Largest share of harvested labels per class of a snapshot"
    )
    image_size: int | None = Field(
        None,
        ge=1,
        le=LARGEST_IMAGE_SIZE,
        description="Side of the network's square input, pixels; the backbone's own when empty",
    )
    backbone: str | None = Field(None, description="Network that computes the features; the home's when empty")
    weights: str | None = Field(
        None,
        description="imagenet, bundled, random, or a .weights.h5 or .pth file; chosen once for the home when empty",
    )
    model_precision: Precision = Field("int8", description="Arithmetic of the served backbone")
    int8_minimum_agreement: float = Field(
        0.98, ge=0, le=1, description="Use int8 only if this share of its answers equals fp32's"
    )
    head_solver: HeadSolver = Field(
        "convex",
        description="How a retraining fits the head: convex, a logistic regression; adam, in epochs with dropout",
    )
    mirrored_views: bool = Field(True, description="Train on mirrored images too; false when left and right differ")
    rotated_views: bool = Field(False, description="Train on images turned by 10 degrees to both sides too")
    zoomed_views: bool = Field(False, description="Train on the middle of images, enlarged, too")
    training_budget_minutes: float = Field(
        30, gt=0, description="A training stops after this time, and keeps the best weights"
    )
    activations_limit_gb: float = Field(4, gt=0, description="Disk space that fine-tuning may use under home")

    promotion: Literal["auto", "approve"] = Field(
        "auto", description="approve: a challenger that passes the gate waits for a person"
    )

    shadow_days: int = Field(
        7,
        ge=1,
        le=365,
        description="A challenger answers the uploads of this many days beside the champion",
    )
    shadow_hours: float = Field(
        0, ge=0, le=24 * 30, description="With auto, it does so for this many hours before its promotion"
    )

    alert_urls: SecretStr | None = Field(None, description="Addresses for alerts, in Apprise's format; comma-separated")

    grafana_url: str | None = Field(
        None, pattern=_HTTP, description="Grafana's address, for dashboards and annotations"
    )
    grafana_token: SecretStr | None = Field(None, description="Token of a service account with the role Editor")

    retention_days_images: int = Field(90, ge=1, description="`mycoflow purge` keeps images outside the pool this long")
    retention_days_logs: int = Field(365, ge=1, description="... and predictions and events")
    retention_model_versions: int = Field(10, ge=1, description="... and the files of this many of the newest versions")

    ingest_sources: str = Field("", description="URLs to ingest images from every hour, comma-separated")
    ingest_accounts: SecretStr | None = Field(
        None, description="Keys of sources in buckets (s3://bucket?account=NAME), by name, as JSON"
    )
    require_certification: bool = Field(True, description="Images from sources wait for an admin's certificate")
    quarantine_share: float = Field(0.30, ge=0, le=1, description="A batch with a larger share of rejects waits")

    airflow_url: str | None = Field(None, pattern=_HTTP, description="Airflow's api-server, for triggering runs")
    airflow_public_url: str | None = Field(
        None, pattern=_HTTP, description="Airflow's address for people; MYCOFLOW_AIRFLOW_URL when empty"
    )
    public_url: str | None = Field(None, pattern=_HTTP, description="The service's address for people, for links")
    runbook_url: str | None = Field(
        None, pattern=_HTTP, description="Address of docs/operations.md for people, for links to its headings"
    )
    airflow_username: str | None = None
    airflow_password: SecretStr | None = None

    metrics_host: str = Field("127.0.0.1", description="Address that the service's /metrics listens on")
    metrics_port: int = Field(9100, ge=0, le=65535, description="Port of the service's /metrics")
    readiness: Literal["any", "production"] = Field(
        "any",
        description="production: not ready while the service cannot load the champion and serves an older version",
    )
    alias_poll_seconds: float = Field(5, gt=0, description="How often the service looks for a new champion")

    token_hours: float = Field(12, gt=0, le=24 * 365, description="A bearer token is valid this long")
    rate_limit: str = Field("600 per minute", pattern=_RATE, description="Requests per account, or per address")
    login_rate_limit: str = Field("10 per minute", pattern=_RATE, description="Passwords checked per account")
    login_rate_limit_per_address: str = Field("30 per minute", pattern=_RATE, description="The same, per address")
    rate_limit_storage: SecretStr = Field(SecretStr("memory://"), description="memory://, or redis:// to share counts")
    cors_origins: str = Field(
        "",
        pattern=_ORIGINS,
        description="Sites whose scripts may use the API: https://site.example, ...; comma-separated",
    )
    trusted_proxies: int = Field(0, ge=0, description="Number of proxies whose X-Forwarded-For and -Proto are trusted")

    fetch_allowed_hosts: str = Field(
        "", description="host or host:port, ...: image URLs may name private addresses there"
    )
    model_queue_size: int = Field(12, ge=1, description="Predictions in progress at once; further ones are refused")
    quota_images: int = Field(10_000, ge=1, description="Photos that one account may store")
    quota_image_gb: float = Field(10, gt=0, description="The same in GB")
    quota_events: int = Field(10_000, ge=1, description="Events that one account may store with POST /logs/write")
    request_seconds: float = Field(30, gt=0, description="Time limit of a prediction")

    # Only for `make up`.
    airflow_port: int = Field(8080, ge=1, le=65535, description="Airflow's pages and REST API")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="MLflow's pages")
    service_port: int = Field(8000, ge=1, le=65535, description="The prediction service")
    prometheus_port: int = Field(9090, ge=0, le=65535, description="Prometheus, if it is installed; 0 for none")

    # `mycoflow migrate` lets a database role log in if its password is set here.
    database_web_password: SecretStr | None = None
    database_training_password: SecretStr | None = None
    database_grafana_password: SecretStr | None = None

    @field_validator("mycoflow_home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return Path(os.path.realpath(value.expanduser()))  # Path.resolve raises an error for a loop of links
        except RuntimeError as error:
            raise ValueError(
                f"expected a folder, got ~ and a name that no user of this machine has: {error}"
            ) from error

    @field_validator("class_floors", mode="before")
    @classmethod
    def _named_shares(cls, value: Any) -> dict[str, float]:
        """Read JSON: a class's name may contain any character, so no simple separator is safe."""
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
        if value is None or value in ("imagenet", "bundled", "random") or value.endswith((".weights.h5", ".pth")):
            return value
        raise ValueError(f"expected imagenet, bundled, random, or a path ending in .weights.h5 or .pth, got {value!r}")

    @field_validator("rate_limit_storage")
    @classmethod
    def _known_storage(cls, value: SecretStr) -> SecretStr:
        parts = urlsplit(value.get_secret_value())
        if parts.scheme == "memory" or (parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0):
            return value
        raise ValueError("expected memory:// or redis://user:password@host:port/number")

    @field_validator("ingest_accounts")
    @classmethod
    def _known_accounts(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_accounts(value.get_secret_value())
        return value

    @field_validator("alert_urls")
    @classmethod
    def _like_addresses(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or _ADDRESS.match(value.get_secret_value()):
            return value
        raise ValueError("expected addresses in Apprise's format, such as ntfy://topic, separated by commas")


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def default_settings(**changes: object) -> Settings:
    """Return the default settings, without those of the environment and `.env`. Args: changes, by field name."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    return Settings.model_validate(defaults | changes)


def load_settings(**overrides: object) -> Settings:
    """Read the settings from the environment and `.env`.

    Args: overrides, values that replace those of both.
    Raises: SettingsError, it names each wrong value with what was expected and what came, and each unknown name with
        the right one.
    """
    try:
        wrong = list_wrong_names()
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"Expected the file .env in {str(Path.cwd())!r} to be text in UTF-8. It cannot be read: {error}. Write it "
            "again, or remove it."
        ) from error
    except ValidationError as error:
        raise wrong_settings(wrong + describe_errors(error)) from error
    if wrong:
        raise wrong_settings(wrong)
    return settings


def wrong_settings(lines: list[str]) -> SettingsError:
    """Return one error for all wrong settings, with a line for each."""
    return SettingsError("Wrong settings:\n  " + "\n  ".join(lines))


def describe_errors(error: ValidationError) -> list[str]:
    """Describe each wrong setting: what was expected and, unless it is secret, what came."""
    return [f"{variable(str(each['loc'][0]))}: {each['msg']}{_what_came(each)}" for each in error.errors()]


def _what_came(error: ErrorDetails) -> str:
    is_secret = "SecretStr" in str(Settings.model_fields[str(error["loc"][0])].annotation)
    return "" if is_secret else f" (got {error['input']!r})"


def variable(name: str) -> str:
    """Return a setting's name in the environment and in `.env`.

    Args: name, an attribute of Settings.
    """
    own = Settings.model_fields[name].validation_alias
    return own if isinstance(own, str) else f"{PREFIX}{name.upper()}"


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without settings, neither under their names nor under their former names."""
    ours = {variable(name) for name in Settings.model_fields} | _former_names().keys()
    return {name: value for name, value in environment.items() if name not in ours and not name.startswith(PREFIX)}


def list_wrong_names() -> list[str]:
    """List the wrong names in the environment and in `.env`, each with the right name.

    A wrong name is a setting's former name without the prefix, or an unknown name with the prefix. Values are not
    shown.
    """
    given = _all_variables()
    lines = [_say_former(name, new) for name, new in _former_names().items() if given.get(name) and new not in given]
    known = {variable(name) for name in Settings.model_fields} | {STACK_MARK}
    lines += [_say_unknown(name) for name in given if name.startswith(PREFIX) and given[name] and name not in known]
    return sorted(lines)


def _all_variables() -> dict[str, str | None]:
    """Read all variables as pydantic does: names in any case; the environment wins over `.env`."""
    sources = [each(Settings, env_ignore_empty=False) for each in (DotEnvSettingsSource, EnvSettingsSource)]
    read = {name.upper(): value for source in sources for name, value in source.env_vars.items()}
    return {
        name: value
        for name, value in read.items()
        if not _LINK.fullmatch(name) and not _LINK_ADDRESS.match(value or "")
    }


def _former_names() -> dict[str, str]:
    """Map each former name, without the prefix, to the current one."""
    names = {name.upper(): variable(name) for name in Settings.model_fields}
    return {former: now for former, now in names.items() if former != now}


def _say_former(former: str, now: str) -> str:
    return (
        f"{former}: the setting is called {now} now. Rename it. If another program needs {former}, keep it and set "
        f"{now} as well; empty means the default."
    )


def _say_unknown(name: str) -> str:
    names = {each.removeprefix(PREFIX): each for each in (variable(field) for field in Settings.model_fields)}
    near = get_close_matches(name.removeprefix(PREFIX), names, n=1)
    return f"{name}: no setting has this name. " + (
        f"The nearest is {names[near[0]]}." if near else "README.md lists them under Settings."
    )
