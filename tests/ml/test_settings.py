"""Settings by their names in the environment and in `.env`."""

from pathlib import Path

import pytest

from ml.errors import SettingsError
from ml.settings import STACK_MARK, Settings, load_settings, variable, without_settings
from stack.environment import settings_environment

ROOT = Path(__file__).parents[2]


@pytest.fixture
def env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A `.env` that is read."""
    path = tmp_path / ".env"
    monkeypatch.setitem(Settings.model_config, "env_file", path)
    return path


def refused() -> str:
    """What a refusal says."""
    with pytest.raises(SettingsError) as told:
        load_settings()
    return str(told.value)


def test_settings_are_read_by_their_names(monkeypatch: pytest.MonkeyPatch, env_file: Path, tmp_path: Path) -> None:
    env_file.write_text("MYCOFLOW_IMAGE_SIZE=64\nMYCOFLOW_SNAPSHOT_SIZE=250\n")
    monkeypatch.setenv("MYCOFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgresql://host/of-others")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow")
    monkeypatch.setenv("MYCOFLOW_IMAGE_SIZE", "96")
    monkeypatch.setenv("MYCOFLOW_PROMETHEUS_PORT", "0")
    monkeypatch.setenv("MYCOFLOW_RATE_LIMIT", "")
    settings = load_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://host/of-others"
    assert (settings.mycoflow_home, settings.mlflow_tracking_uri) == (tmp_path, "http://mlflow")
    assert (settings.image_size, settings.snapshot_size, settings.prometheus_port) == (96, 250, 0)
    assert settings.rate_limit == "600 per minute"


def test_what_the_caller_says_wins_over_every_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://host/of-others")
    monkeypatch.setenv("MYCOFLOW_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("MYCOFLOW_IMAGE_SIZE", "96")
    settings = load_settings(database_url=None, mycoflow_home=tmp_path, image_size=32)
    assert (settings.database_url, settings.mycoflow_home, settings.image_size) == (None, tmp_path, 32)
    assert Settings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("former", "now"),
    [(name.upper(), variable(name)) for name in Settings.model_fields if name.upper() != variable(name)],
)
def test_a_former_name_is_an_error_that_says_the_new_one(
    former: str, now: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(former, "hunter2")
    said = refused()
    assert f"{former}: the setting is called {now} now." in said
    assert "hunter2" not in said


def test_only_names_that_were_settings_are_former_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AIRFLOW_HOME", "MLFLOW_HOST", "GRAFANA_USER", "HOME", "SIZE", "DATA", STACK_MARK):
        monkeypatch.setenv(name, str(tmp_path))
    assert load_settings().mycoflow_home == Path("var").resolve()


def test_all_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch, env_file: Path) -> None:
    env_file.write_text(
        "PROMOTION=approve\nMYCOFLOW_ACURACY_FLOOR=0.8\nMYCOFLOW_TOKEN_HOURS=never\nPOSTGRES_PASSWORD=x\n"
    )
    monkeypatch.setenv("RATE_LIMIT", "5 per minute")
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("MYCOFLOW_ALERT_URLS", "my secret topic")
    lines = refused().splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "MYCOFLOW_ACURACY_FLOOR",
        "PROMOTION",
        "RATE_LIMIT",
        "MYCOFLOW_ALERT_URLS",
        "MYCOFLOW_TOKEN_HOURS",
    ]
    assert "secret" not in str(lines)
    assert "(got 'never')" in lines[-1]


@pytest.mark.parametrize("new", ["", "http://grafana.of.ours"])
def test_a_former_name_beside_its_new_one_is_another_programs(
    new: str, monkeypatch: pytest.MonkeyPatch, env_file: Path
) -> None:
    monkeypatch.setenv("GRAFANA_URL", "http://grafana.of.theirs")
    assert "GRAFANA_URL" in refused()
    env_file.write_text(f"MYCOFLOW_GRAFANA_URL={new}\n")
    assert load_settings().grafana_url == (new or None)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("MYCOFLOW_ACURACY_FLOOR", "The nearest is MYCOFLOW_ACCURACY_FLOOR."),
        ("MYCOFLOW_DATABASE_URL", "The nearest is DATABASE_URL."),
        ("MYCOFLOW_MLFLOW_TRACKING_URI", "The nearest is MLFLOW_TRACKING_URI."),
        ("mycoflow_image_sise", "The nearest is MYCOFLOW_IMAGE_SIZE."),
        ("MYCOFLOW_QQ", "README.md lists them"),
    ],
)
def test_a_name_that_no_setting_has_is_an_error_that_says_the_nearest(
    name: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert f"{name.upper()}: no setting has this name. {remedy}" in refused()


def test_what_a_container_is_told_of_its_neighbours_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MLFLOW_PORT": "tcp://10.0.0.7:5000",
        "MLFLOW_PORT_5000_TCP_ADDR": "10.0.0.7",
        "MYCOFLOW_WEB_PORT": "tcp://10.0.0.8:8000",
        "MYCOFLOW_WEB_PORT_8000_TCP": "tcp://10.0.0.8:8000",
        "MYCOFLOW_WEB_PORT_8000_TCP_PROTO": "tcp",
        "MYCOFLOW_WEB_SERVICE_HOST": "10.0.0.8",
        "MYCOFLOW_WEB_SERVICE_PORT": "8000",
        "MYCOFLOW_WEB_SERVICE_PORT_HTTP": "8000",
    }.items():
        monkeypatch.setenv(name, value)
    assert load_settings().mlflow_port == 5000


def test_floors_of_classes_are_json_so_that_a_class_may_have_any_name(
    monkeypatch: pytest.MonkeyPatch, env_file: Path
) -> None:
    env_file.write_text("""MYCOFLOW_CLASS_FLOORS='{"a, b=c:": 0.8, "Amanita \\"fly\\"": 1}'\n""")
    assert load_settings().class_floors == {"a, b=c:": 0.8, 'Amanita "fly"': 1.0}
    monkeypatch.setenv("MYCOFLOW_CLASS_FLOORS", "{}")
    assert load_settings().class_floors == {}


@pytest.mark.parametrize("floors", ["amanita=0.8", "0.8", '{"amanita": 80}', '{"amanita": "high"}', '{"amanita": NaN}'])
def test_floors_of_classes_that_are_no_shares_are_refused(floors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYCOFLOW_CLASS_FLOORS", floors)
    said = refused()
    assert "MYCOFLOW_CLASS_FLOORS: Value error, expected a recall from 0 to 1 for each class, as JSON" in said
    assert f"got {floors!r}" in said


def test_an_environment_without_settings_has_what_others_put_there() -> None:
    ours = {variable(name): "x" for name in Settings.model_fields} | {"MYCOFLOW_TYPO": "x", "GRAFANA_URL": "x"}
    theirs = {"PATH": "/bin", "AWS_REGION": "x", "AIRFLOW_HOME": "x"}
    assert without_settings(ours | theirs) == theirs


def test_every_setting_is_documented() -> None:
    told = (ROOT / "README.md").read_text().partition("## Settings")[2] + (ROOT / ".env.example").read_text()
    assert [name for name in map(variable, Settings.model_fields) if name not in told] == []


def test_a_wrong_account_is_told_without_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYCOFLOW_INGEST_ACCOUNTS", '{"lab": {"kind": "s3", "secret_access_key": "hunter2"}}')
    told = refused()
    assert "MYCOFLOW_INGEST_ACCOUNTS: " in told
    assert "lab.s3.endpoint: " in told
    assert "hunter2" not in told


def test_the_processes_of_a_stack_read_the_settings_that_it_was_started_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MYCOFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("MYCOFLOW_CLASS_FLOORS", "{\"Boletus 'edulis'\": 0.8}")
    monkeypatch.setenv("MYCOFLOW_ALERT_URLS", "ntfy://topic")
    monkeypatch.setenv("MYCOFLOW_REQUIRE_CERTIFICATION", "false")
    settings = load_settings()
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


@pytest.mark.parametrize("name", ["airflow_url", "airflow_public_url"])
@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://airflow", "http://", "nonsense"])
def test_an_address_that_is_none_is_refused_at_the_start(name: str, url: str) -> None:
    with pytest.raises(SettingsError, match=variable(name)):
        load_settings(**{name: url})
