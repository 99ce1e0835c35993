"""Publishing dashboards to Grafana through grafana-client."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from ml.cli.main import app
from ml.errors import GrafanaError, GrafanaUnavailableError, SettingsError
from ml.reporting.grafana_publishing import publish_dashboards
from ml.settings import Settings
from tests.monitoring.grafana.stand_in import TOKEN, Grafana, settings_for

DASHBOARDS = Path(__file__).resolve().parents[3] / "grafana" / "dashboards"

StartGrafana = Callable[..., Grafana]


def test_the_dashboards_are_stored_in_their_own_folder_each_time(grafana: Grafana) -> None:
    settings = settings_for(grafana.port)
    paths = publish_dashboards(settings, DASHBOARDS)
    assert publish_dashboards(settings, DASHBOARDS) == paths
    assert grafana.folders == {"mycoflow": "Mycoflow"}
    assert paths == [f"/d/{uid}/x" for uid in sorted(grafana.dashboards)]
    for file in DASHBOARDS.glob("*.json"):
        assert grafana.dashboards[file.stem]["dashboard"] == json.loads(file.read_text())
    assert grafana.requests.count("POST /api/folders") == 1


def test_grafana_below_a_path_is_found(start_grafana: StartGrafana) -> None:
    grafana = start_grafana(prefix="/grafana")
    assert len(publish_dashboards(settings_for(grafana.port, prefix="/grafana"), DASHBOARDS)) == 4


def test_the_error_for_a_wrong_token_says_what_to_do_and_hides_the_token(grafana: Grafana) -> None:
    with pytest.raises(GrafanaUnavailableError, match=r"401.*MYCOFLOW_GRAFANA_TOKEN") as raised:
        publish_dashboards(settings_for(grafana.port, "wrong-token"), DASHBOARDS)
    assert "wrong-token" not in str(raised.value)


def test_the_error_for_a_refused_dashboard_has_its_uid(grafana: Grafana, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps({"uid": "untitled"}))
    with pytest.raises(GrafanaError, match=r"untitled.*title cannot be empty"):
        publish_dashboards(settings_for(grafana.port), tmp_path)


def test_an_answer_that_is_not_grafanas_is_an_error(start_grafana: StartGrafana) -> None:
    page = start_grafana(page="<html>Log in</html>")
    with pytest.raises(GrafanaUnavailableError, match="Check MYCOFLOW_GRAFANA_URL"):
        publish_dashboards(settings_for(page.port), DASHBOARDS)


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:port"])
def test_the_error_without_an_address_or_token_says_what_is_missing(url: str | None) -> None:
    with pytest.raises(SettingsError, match="MYCOFLOW_GRAFANA_URL"):
        publish_dashboards(Settings(grafana_url=url, grafana_token=SecretStr(TOKEN)), DASHBOARDS)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_the_error_for_a_file_that_is_no_dashboard_names_the_file(
    grafana: Grafana, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "broken.json").write_bytes(content)
    with pytest.raises(GrafanaError, match=r"broken\.json.*Write the dashboards again"):
        publish_dashboards(settings_for(grafana.port), tmp_path)
    assert grafana.requests == []


def test_a_folder_without_dashboards_is_refused(grafana: Grafana, tmp_path: Path) -> None:
    with pytest.raises(GrafanaError, match=r"\*\.json.*got none"):
        publish_dashboards(settings_for(grafana.port), tmp_path)


def test_the_command_line_publishes(grafana: Grafana, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYCOFLOW_GRAFANA_URL", f"http://127.0.0.1:{grafana.port}")
    monkeypatch.setenv("MYCOFLOW_GRAFANA_TOKEN", TOKEN)
    result = CliRunner().invoke(app, ["grafana", "publish", str(DASHBOARDS)])
    assert result.exit_code == 0, result.output
    assert "/d/mycoflow-nights/x" in result.output
