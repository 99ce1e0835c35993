"""Airflow's plugin: a page on the model's health in the menu, for users who may see the nightly check.

Every process of Airflow imports this file, also each task. Only the api-server uses the app.
"""

# ruff: noqa: PLC0415 - only the api-server imports FastAPI and the page, not every task
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/mycoflow"


class MycoflowPlugin(AirflowPlugin):
    """Model health."""

    name = "mycoflow"
    external_views = [  # noqa: RUF012 - Airflow declares it so
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
        from model_health.health_app import create_app  # Airflow adds this folder to the path

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "Model health"}]
