"""Run buckets, migrate, mlflow, mlflow-accounts and webapi with the commands and health checks of the compose file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests


@pytest.fixture(scope="module")
def buckets(deployment: Any) -> str:
    said: str = deployment.run("buckets")
    return said


@pytest.fixture(scope="module")
def migrated(deployment: Any) -> Any:
    deployment.run("migrate")
    return deployment


@pytest.fixture(scope="module")
def mlflow(deployment: Any, buckets: str) -> Iterator[str]:
    with deployment.up("mlflow"):
        deployment.run("mlflow-accounts")
        yield f"http://127.0.0.1:{deployment.port('5000')}"


@pytest.fixture(scope="module")
def accounts(variables: dict[str, str]) -> dict[str, tuple[str, str]]:
    names = {"admin": "ADMIN", "training": "TRAINING", "web": "WEB"}
    return {name: (name, variables[f"MLFLOW_{variable}_PASSWORD"]) for name, variable in names.items()}


def test_buckets_are_created_once(deployment: Any, buckets: str, seaweedfs: Any) -> None:
    assert deployment.run("buckets") == buckets
    found = seaweedfs.client("admin").list_buckets()["Buckets"]
    assert [bucket["Name"] for bucket in found] == ["images", "models"]


def test_migrating_again_is_harmless(migrated: Any, postgres: Any) -> None:
    columns = "SELECT table_schema, table_name, column_name FROM information_schema.columns ORDER BY 1, 2, 3"
    listing = ("-d", "mycoflow", "-Atc", columns)
    before = postgres.psql(*listing).stdout
    assert "training|images|sha256" in before
    migrated.run("migrate")
    assert postgres.psql(*listing).stdout == before


@pytest.mark.parametrize(
    ("role", "variable", "sees_hashes"),
    [("web", "WEB", True), ("training", "TRAINING", False), ("grafana_ro", "GRAFANA", False)],
)
def test_each_role_logs_in_with_its_password(
    migrated: Any, postgres: Any, variables: dict[str, str], role: str, variable: str, sees_hashes: bool
) -> None:
    login = {"PGHOST": "127.0.0.1", "PGDATABASE": "mycoflow", "PGUSER": role}
    password = variables[f"MYCOFLOW_DATABASE_{variable}_PASSWORD"]
    images = postgres.psql("-c", "SELECT count(*) FROM training.images", **login, PGPASSWORD=password)
    accounts = postgres.psql("-c", "SELECT count(password_hash) FROM users.accounts", **login, PGPASSWORD=password)
    assert images.returncode == 0, images.stderr
    assert (accounts.returncode == 0) == sees_hashes


def test_mlflow_refuses_whoever_does_not_log_in(mlflow: str, accounts: dict[str, tuple[str, str]]) -> None:
    search = f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=5"
    assert requests.get(search, timeout=60).status_code == 401
    assert requests.get(search, auth=("admin", "password1234"), timeout=60).status_code == 401
    assert requests.get(search, auth=accounts["admin"], timeout=60).status_code == 200


def test_mlflow_refuses_a_host_that_is_not_its_own(mlflow: str, accounts: dict[str, tuple[str, str]]) -> None:
    search = f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=5"
    assert requests.get(search, auth=accounts["admin"], headers={"Host": "evil.example"}, timeout=60).status_code == 403
    own = {"Host": "mlflow.localhost"}
    assert requests.get(search, auth=accounts["admin"], headers=own, timeout=60).status_code == 200


def test_training_writes_and_web_reads_and_moves_the_alias(mlflow: str, accounts: dict[str, tuple[str, str]]) -> None:
    def call(who: str, verb: str, path: str, **body: Any) -> requests.Response:
        return requests.request(verb, f"{mlflow}/api/2.0/mlflow/{path}", auth=accounts[who], timeout=60, **body)

    created = call("training", "POST", "experiments/create", json={"name": "nights"})
    assert created.status_code == 200, created.text
    experiment = {"experiment_id": created.json()["experiment_id"]}
    assert call("web", "GET", "experiments/get", params=experiment).status_code == 200
    assert call("web", "POST", "experiments/delete", json=experiment).status_code == 403
    assert call("web", "POST", "users/create", json={"username": "x", "password": "x" * 12}).status_code == 403
    for name in ("mycoflow", "another"):
        version = {"name": name, "source": "s3://models/none", "run_id": None}
        assert call("training", "POST", "registered-models/create", json={"name": name}).status_code == 200
        assert call("training", "POST", "model-versions/create", json=version).status_code == 200
    alias = {"alias": "production", "version": "1"}
    assert call("web", "POST", "registered-models/alias", json={"name": "mycoflow", **alias}).status_code == 200
    assert call("web", "POST", "registered-models/alias", json={"name": "another", **alias}).status_code == 403
    assert call("web", "DELETE", "registered-models/delete", json={"name": "mycoflow"}).status_code == 403


def test_artifacts_pass_through_mlflow_into_the_bucket(
    mlflow: str, deployment: Any, accounts: dict[str, tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient, artifacts

    for name, value in deployment.environment("airflow-worker").items():
        if name.startswith("MLFLOW_"):
            monkeypatch.setenv(name, value)
    client = MlflowClient(mlflow)
    run = client.create_run(client.create_experiment("artifacts"))
    (tmp_path / "note.txt").write_text("kept")
    client.log_artifact(run.info.run_id, str(tmp_path / "note.txt"))

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", accounts["web"][0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", accounts["web"][1])
    fetched = artifacts.download_artifacts(
        artifact_uri=f"runs:/{run.info.run_id}/note.txt", dst_path=str(tmp_path / "back"), tracking_uri=mlflow
    )
    assert Path(fetched).read_text() == "kept"


def test_webapi_starts_and_reaches_its_database_as_the_role_web(mlflow: str, migrated: Any) -> None:
    with migrated.up("webapi"):
        service = f"http://127.0.0.1:{migrated.port('8000')}"
        assert requests.get(f"{service}/status", timeout=60).json() is True
        assert requests.get(f"{service}/dbconnex", timeout=60).json() is True
        figures = requests.get(f"http://127.0.0.1:{migrated.port('9100')}/metrics", timeout=60)
        assert "mycoflow_http_requests_total" in figures.text
