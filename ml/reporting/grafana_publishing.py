"""Send dashboards to a running Grafana that is not provisioned from the files in this repository."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.errors import GrafanaError
from ml.reporting.grafana_api import expect, open_grafana, translated_errors
from ml.settings import Settings

if TYPE_CHECKING:
    from grafana_client import GrafanaApi

FOLDER_UID, FOLDER_TITLE = "mycoflow", "Mycoflow"
NOT_FOUND = 404
_ADVICE = "Write the dashboards again with `python -m grafana`."


def publish_dashboards(settings: Settings, folder: Path) -> list[str]:
    """Store each dashboard of a folder in Grafana, and replace one with the same uid.

    Args: folder, with the JSON files that `python -m grafana` writes.
    Returns: the dashboards' paths in Grafana.
    Raises:
        SettingsError, no address or no token.
        GrafanaError, the folder has no dashboards, a file is no dashboard, or Grafana refuses one.
        GrafanaUnavailableError, Grafana does not answer, or refuses every request.
    """
    dashboards = [_load(file) for file in sorted(folder.glob("*.json"))]
    if not dashboards:
        raise GrafanaError(
            f"Expected dashboards (*.json) in {folder}, got none. Give the folder grafana/dashboards of the repository."
        )
    grafana = open_grafana(settings)
    with translated_errors("to make a folder for the dashboards"):
        _ensure_folder(grafana)
    return [_store(grafana, dashboard) for dashboard in dashboards]


def _load(file: Path) -> dict[str, Any]:
    try:
        dashboard = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise GrafanaError(f"Expected a dashboard in JSON in {file}, got: {error}. {_ADVICE}") from error
    if not isinstance(dashboard, dict) or "uid" not in dashboard:
        raise GrafanaError(f"Expected a dashboard with a uid in {file}, got something else. {_ADVICE}")
    return dashboard


def _ensure_folder(grafana: "GrafanaApi") -> None:
    from grafana_client.client import GrafanaClientError  # noqa: PLC0415

    try:
        expect(grafana.folder.get_folder(FOLDER_UID), "uid")
    except GrafanaClientError as error:
        if error.status_code != NOT_FOUND:
            raise
        expect(grafana.folder.create_folder(FOLDER_TITLE, uid=FOLDER_UID), "uid")


def _store(grafana: "GrafanaApi", dashboard: dict[str, Any]) -> str:
    request = {
        "dashboard": dashboard,
        "folderUid": FOLDER_UID,
        "overwrite": True,
        "message": "mycoflow grafana publish",
    }
    with translated_errors(f"to store the dashboard {dashboard['uid']}"):
        return str(expect(grafana.dashboard.update_dashboard(request), "url"))
