"""`mycoflow alerts`: the latest alerts, sent or not."""

from typing import Annotated

import typer
from rich.table import Table

from ml.catalog.database import open_catalog
from ml.catalog.logs.outbox import Alert, latest_alerts
from ml.cli.terminal import out
from ml.settings import load_settings

alerts_app = typer.Typer()


@alerts_app.command()
def alerts(count: Annotated[int, typer.Option(min=1, help="Number of alerts, newest first.")] = 20) -> None:
    """List the latest alerts, and whether they were sent to MYCOFLOW_ALERT_URLS."""
    settings = load_settings()
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        latest = latest_alerts(connection, count)
    table = Table("raised", "kind", "what", "sent")
    for alert in latest:
        raised = alert.raised_at.strftime("%Y-%m-%d %H:%M")
        table.add_row(raised, alert.kind, alert.title, _describe(alert))
    out.print(table if latest else "No alert yet.")
    if settings.alert_urls is None and any(alert.sent_at is None for alert in latest):
        out.print("MYCOFLOW_ALERT_URLS is empty here, so this machine sends no alerts.")


def _describe(alert: Alert) -> str:
    if alert.sent_at is not None:
        return alert.sent_at.strftime("%Y-%m-%d %H:%M")
    return f"not yet, tried {alert.tries} times: {alert.last_error}" if alert.tries else "not yet"
