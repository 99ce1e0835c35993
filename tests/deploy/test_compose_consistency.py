"""What docker-compose.yml promises about ports, secrets, health and confinement, held against the file."""

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from ml.settings import Settings, variable

REFERENCE = re.compile(r"(?<!\$)\$\{([A-Z0-9_]+)")
# Grafana makes MYCOFLOW_GRAFANA_TOKEN itself, after its first start.
SECRET_NAME = re.compile(r"PASSWORD|SECRET|(?<!GRAFANA_)TOKEN(?!_HOURS)|FERNET|PGPASS|REDISCLI_AUTH|_HASH$")
ONE_OFFS = {"buckets", "migrate", "mlflow-accounts", "airflow-init"}


@pytest.fixture
def services(compose: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = compose["services"]
    return loaded


def test_only_the_proxy_publishes_ports(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"caddy": ["80:80", "443:443", "443:443/udp"]}
    assert not any("network_mode" in service or service.get("privileged") for service in services.values())


def test_every_variable_is_documented_and_every_documented_variable_is_used(
    compose_text: str, documented: dict[str, str]
) -> None:
    assert set(REFERENCE.findall(compose_text)) == set(documented)


def test_the_example_holds_no_value(documented: dict[str, str]) -> None:
    assert {name: value for name, value in documented.items() if value} == {}


def test_no_secret_is_written_in_the_file(services: dict[str, Any]) -> None:
    literal = [
        f"{name}.{key}"
        for name, service in services.items()
        for key, value in service.get("environment", {}).items()
        if SECRET_NAME.search(key) and value != "false" and not re.search(r"\$\{[A-Z0-9_]+:\?", str(value))
    ]
    assert literal == []


@pytest.mark.parametrize("missing", ["POSTGRES_PASSWORD", "REDIS_PASSWORD", "MLFLOW_SECRET_KEY", "AIRFLOW_FERNET_KEY"])
def test_a_missing_secret_stops_compose_with_its_name(
    missing: str, compose: dict[str, Any], variables: dict[str, str], interpolated: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=rf"{missing}.*see \.env\.example"):
        interpolated(compose, {**variables, missing: ""})


def test_every_secret_is_demanded_and_every_setting_may_be_empty(compose_text: str, documented: dict[str, str]) -> None:
    demanded = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+):\?", compose_text))
    optional = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+):-", compose_text))
    assert demanded | optional == set(documented)
    assert not {name for name in optional if SECRET_NAME.search(name)}


def test_every_service_has_a_health_check_or_runs_once(services: dict[str, Any]) -> None:
    without = {name for name, service in services.items() if "healthcheck" not in service}
    assert without == ONE_OFFS
    assert all(services[name]["restart"] == "no" for name in ONE_OFFS)


def test_every_service_is_confined(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"], name
        assert service["logging"]["options"]["max-size"], name
        assert service["deploy"]["resources"]["limits"]["memory"], name


def test_services_wait_for_health_or_for_the_end_of_what_runs_once(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in ONE_OFFS else "service_healthy"
            assert how == {"condition": expected}, f"{name} -> {needed}"


@pytest.mark.parametrize("name", ["webapi", "migrate", "airflow-worker"])
def test_what_is_set_for_our_own_code_is_a_setting(services: dict[str, Any], name: str) -> None:
    others = re.compile(r"AIRFLOW__|AWS_|MLFLOW_(?!TRACKING_URI)|PG|KERAS_|GUNICORN_|FORWARDED_")
    ours = {key for key in services[name]["environment"] if not others.match(key)}
    assert ours <= {variable(field) for field in Settings.model_fields}


def test_only_what_must_go_out_can(compose: dict[str, Any], services: dict[str, Any]) -> None:
    outside = {name for name, network in compose["networks"].items() if not (network or {}).get("internal")}
    assert outside == {"edge", "egress"}
    reaching = {name for name, service in services.items() if outside & set(service.get("networks", ["default"]))}
    assert reaching == {"caddy", "webapi", "airflow-worker"}
    assert "default" not in {
        network for service in services.values() for network in service.get("networks", ["default"])
    }


def test_no_fixed_address_is_one_that_docker_gives_to_another(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    fixed = [
        (network, ip_address(attached["ipv4_address"]))
        for service in services.values()
        if isinstance(service.get("networks"), dict)
        for network, attached in service["networks"].items()
        if attached
    ]
    assert fixed
    assert len(set(fixed)) == len(fixed)
    for network, address in fixed:
        (pool,) = compose["networks"][network]["ipam"]["config"]
        subnet = ip_network(pool["subnet"])
        given_out = ip_network(pool.get("ip_range", pool["subnet"]))
        assert given_out.subnet_of(subnet)
        assert address in subnet
        assert address not in given_out
        assert address not in (subnet[0], subnet[1], subnet[-1])  # the network's own, the gateway's, broadcast


def test_the_address_that_is_believed_is_the_proxys(services: dict[str, Any]) -> None:
    believed = {
        service["environment"].get("FORWARDED_ALLOW_IPS") for service in services.values() if "environment" in service
    }
    assert believed - {None} == {services["caddy"]["networks"]["frontend"]["ipv4_address"]}


def test_the_worker_reads_the_drop_folder_and_changes_nothing_there(services: dict[str, Any]) -> None:
    assert "./drop:/drop:ro" in services["airflow-worker"]["volumes"]


def test_only_the_worker_has_the_keys_of_sources(services: dict[str, Any]) -> None:
    with_keys = {name for name, each in services.items() if "MYCOFLOW_INGEST_ACCOUNTS" in each.get("environment", {})}
    assert with_keys == {"airflow-worker"}


def test_the_proxy_cannot_reach_the_databases(services: dict[str, Any]) -> None:
    assert not set(services["caddy"]["networks"]) & set(services["postgres"]["networks"])


def test_the_worker_cannot_log_in_to_the_database_of_airflow(services: dict[str, Any]) -> None:
    environment = services["airflow-worker"]["environment"]
    assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment
    assert "AIRFLOW_DATABASE_PASSWORD" not in str(environment)


def test_everything_that_is_built_or_mounted_exists(root: Path, services: dict[str, Any]) -> None:
    for service in services.values():
        if "build" in service:
            assert (root / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (root / source).exists(), source


def test_prometheus_finds_its_rules_in_what_is_mounted(root: Path, services: dict[str, Any]) -> None:
    assert "./prometheus:/etc/prometheus:ro" in services["prometheus"]["volumes"]
    assert "--config.file=/etc/prometheus/prometheus.yml" in services["prometheus"]["command"]
    patterns = yaml.safe_load((root / "prometheus/prometheus.yml").read_text())["rule_files"]
    assert all(not Path(pattern).is_absolute() and list((root / "prometheus").glob(pattern)) for pattern in patterns)


def test_every_volume_is_named_and_used(compose: dict[str, Any], services: dict[str, Any]) -> None:
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert {name for name in used if not name.startswith(".")} == set(compose["volumes"])


def test_every_image_has_a_fixed_version(services: dict[str, Any]) -> None:
    assert all(re.search(r":v?\d+\.\d+(\.\d+)?(-pg\d+)?(-[a-z]+)?$", service["image"]) for service in services.values())


def test_nothing_private_enters_a_build(root: Path) -> None:
    rules = [line for line in (root / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert not allowed & {".env", ".git", "var", ".venv", "data", "docker", "."}


def test_everything_that_a_build_copies_is_let_in(root: Path) -> None:
    allowed = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for dockerfile in (root / "docker").glob("*.Dockerfile"):
        copies = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile.read_text(), re.MULTILINE)
        sources = {source for copy in copies for source in copy.split()}
        assert sources <= allowed
        assert all((root / source).exists() for source in sources)
