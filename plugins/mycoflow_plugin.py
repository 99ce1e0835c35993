"""What Airflow itself gains: a page that says how the model is, in its menu, for those who may see the nightly check.

Every process of Airflow reads this file, each task among them; only the api-server asks for the app.
"""

# ruff: noqa: PLC0415 - FastAPI and the page are imported where they are needed, not by every task
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/mycoflow"


class MycoflowPlugin(AirflowPlugin):
    """Model health."""

    name = "mycoflow"
    external_views = [  # noqa: RUF012 - as Airflow declares it
        {
            "name": "Model health",
            # Relative to Airflow's base address, which may have a path of its own.
            "href": f"{PREFIX.lstrip('/')}/health",
            "destination": "nav",
            "url_route": "model-health",
            "nav_top_level": True,
        },
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app behind the page."""
        from model_health.health_app import create_app  # Airflow puts this folder on the path

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "Model health"}]
