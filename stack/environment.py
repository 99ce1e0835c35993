"""The environment of every process of the stack, made from the settings alone."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from ml.app import mlflow_uri
from ml.catalog.embedded import embedded_url
from ml.plain_paths import plain_path
from ml.settings import STACK_MARK, Settings, variable, without_settings
from stack.ports import HOST
from stack.prometheus import find_prometheus
from stack.secret_files import ADMIN, SERVICE, AirflowSecrets

ROOT = Path(__file__).resolve().parent.parent


def python_program() -> str:
    """Return this Python under a path that Airflow's and MLflow's configuration can contain."""
    prefix, program = Path(sys.prefix), Path(sys.executable)
    return str(plain_path(prefix) / program.relative_to(prefix) if program.is_relative_to(prefix) else program)


@dataclass(frozen=True)
class Addresses:
    """The addresses of the stack: database URLs for the processes, web addresses for processes and people."""

    catalog: str
    mlflow_store: str
    airflow_database: str
    airflow: str
    mlflow: str
    service: str
    prometheus: str | None  # None if it is not installed


def find_addresses(settings: Settings) -> Addresses:
    """Start the embedded PostgreSQL, or use the running one, and return all addresses of the stack."""
    home, given = settings.mycoflow_home, settings.database_url
    return Addresses(
        catalog=given.get_secret_value() if given else embedded_url(home, "mycoflow"),
        mlflow_store=mlflow_uri(settings),
        airflow_database=embedded_url(home, "airflow"),
        airflow=f"http://{HOST}:{settings.airflow_port}",
        mlflow=f"http://{HOST}:{settings.mlflow_port}",
        service=f"http://{HOST}:{settings.service_port}",
        prometheus=f"http://{HOST}:{settings.prometheus_port}" if find_prometheus(settings) else None,
    )


def child_environment(settings: Settings, addresses: Addresses, secrets: AirflowSecrets) -> dict[str, str]:
    """Return the complete environment of a child process, which reads no `.env` and starts no embedded server."""
    return {
        **without_settings(os.environ),
        **_airflow_account(addresses, secrets),
        **settings_environment(settings),
        **_airflow(settings, addresses, secrets),
        "DATABASE_URL": addresses.catalog,
        "MLFLOW_TRACKING_URI": addresses.mlflow_store,
        "MYCOFLOW_PUBLIC_URL": settings.public_url or addresses.service,
        "MYCOFLOW_MLFLOW_PUBLIC_URL": settings.mlflow_public_url or settings.mlflow_tracking_uri or addresses.mlflow,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(plain_path(ROOT)), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": ",".join(filter(None, [os.environ.get("NO_PROXY"), HOST, "localhost"])),
        STACK_MARK: str(settings.mycoflow_home),
        "SPT_NOENV": "1",  # Airflow renames its processes; without this, that overwrites their visible environment
    }


def _airflow_account(addresses: Addresses, secrets: AirflowSecrets) -> dict[str, str]:
    """Return the account with which the service starts Airflow runs, unless the settings name another Airflow."""
    return {
        "MYCOFLOW_AIRFLOW_URL": addresses.airflow,
        "MYCOFLOW_AIRFLOW_USERNAME": SERVICE,
        "MYCOFLOW_AIRFLOW_PASSWORD": secrets.service_password,
    }


def settings_environment(settings: Settings) -> dict[str, str]:
    """Return the settings as environment variables, without those that have no value."""
    values = {variable(name): getattr(settings, name) for name in Settings.model_fields}
    return {name: _write(value) for name, value in values.items() if value is not None}


def _write(value: object) -> str:
    """A setting's value as the environment has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _airflow(settings: Settings, addresses: Addresses, secrets: AirflowSecrets) -> dict[str, str]:
    airflow_home = plain_path(settings.mycoflow_home / "airflow")
    options = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__DAGS_FOLDER": str(plain_path(ROOT) / "dags"),
        "CORE__PLUGINS_FOLDER": str(plain_path(ROOT) / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTION_API_SERVER_URL": f"{addresses.airflow}/execution/",
        "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin,{SERVICE}:user",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(airflow_home / secrets.password_file.name),
        "DATABASE__SQL_ALCHEMY_CONN": addresses.airflow_database,
        # Only the API's "wait for a run" needs an asynchronous driver. Without this line, Airflow requires asyncpg.
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC": "",
        "API__BASE_URL": addresses.airflow,
        "API__SECRET_KEY": secrets.jwt_secret,
        "API_AUTH__JWT_SECRET": secrets.jwt_secret,
        # A person is waiting: the scheduler polls often, and notices a killed task early.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        # Tasks are forked from a process that has already imported MLflow: the import takes seconds.
        "SCHEDULER__MP_START_METHOD": "forkserver",
        "CORE__MP_FORKSERVER_PRELOAD": "airflow.executors.local_executor,mlflow",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
    }
    home = {"AIRFLOW_HOME": str(airflow_home)}
    return home | {f"AIRFLOW__{name}": value for name, value in options.items()}
