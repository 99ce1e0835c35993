"""The initial script of PostgreSQL: one owner per database, passwords that hold, safe to run again."""

import subprocess
from pathlib import Path
from typing import Any

OWNERS = {
    "mycoflow": ("mycoflow", "DATABASE_OWNER_PASSWORD"),
    "mlflow": ("mlflow", "MLFLOW_DATABASE_PASSWORD"),
    "mlflow_auth": ("mlflow", "MLFLOW_DATABASE_PASSWORD"),
    "airflow": ("airflow", "AIRFLOW_DATABASE_PASSWORD"),
    "grafana": ("grafana", "GRAFANA_DATABASE_PASSWORD"),
}


def connect(postgres: Any, database: str, user: str, password: str) -> subprocess.CompletedProcess[str]:
    address = {"PGHOST": "127.0.0.1", "PGDATABASE": database, "PGUSER": user, "PGPASSWORD": password}
    done: subprocess.CompletedProcess[str] = postgres.psql("-c", "SELECT 1", **address)
    return done


def test_each_owner_reaches_its_database_with_its_password_only(postgres: Any, variables: dict[str, str]) -> None:
    for database, (owner, variable) in OWNERS.items():
        assert connect(postgres, database, owner, variables[variable]).returncode == 0
        refused = connect(postgres, database, owner, "wrong")
        assert "password authentication failed" in refused.stderr


def test_an_owner_cannot_enter_the_database_of_another_application(postgres: Any, variables: dict[str, str]) -> None:
    for database in ("mlflow", "mlflow_auth", "grafana"):
        refused = connect(postgres, database, "airflow", variables["AIRFLOW_DATABASE_PASSWORD"])
        assert "permission denied for database" in refused.stderr


def test_running_it_again_changes_the_passwords_and_nothing_else(
    postgres: Any, variables: dict[str, str], root: Path
) -> None:
    script = str(root / "docker/postgres/10-databases.sql")
    try:
        again = postgres.psql("-f", script, **{**variables, "GRAFANA_DATABASE_PASSWORD": "changed"})
        assert again.returncode == 0, again.stderr
        assert connect(postgres, "grafana", "grafana", "changed").returncode == 0
    finally:
        assert postgres.psql("-f", script, **variables).returncode == 0


def test_a_missing_password_stops_it(postgres: Any, variables: dict[str, str], root: Path) -> None:
    incomplete = {name: value for name, value in variables.items() if name != "MLFLOW_DATABASE_PASSWORD"}
    stopped = postgres.psql("-f", str(root / "docker/postgres/10-databases.sql"), **incomplete)
    assert stopped.returncode != 0
    assert "syntax error" in stopped.stderr
