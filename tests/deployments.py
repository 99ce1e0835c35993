"""Deployments that many tests begin with: made once, copied for each test."""

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import sqlalchemy as sa
from pydantic import SecretStr

from ml.app import Workspace, open_workspace
from ml.catalog.embedded import embedded_url
from ml.settings import Settings
from ml.upkeep.database_dump import move_uris
from tests.three_layers import NAME


@dataclass(frozen=True)
class Origin:
    """A deployment at rest, to be copied: its databases, to which nobody is connected, and its home, if it has one."""

    catalog: str
    mlflow: str
    home: Path | None = None


def small_settings(home: Path, database_url: str) -> Settings:
    """Small networks on a random backbone."""
    return Settings(
        mycoflow_home=home,
        database_url=SecretStr(database_url),
        weights="random",
        image_size=32,
        mirrored_views=False,  # a mirrored digit is no digit
        model_precision="fp32",  # spares most tests the seconds that quantising takes
    )


def administer(server_home: Path, statement: str) -> None:
    """Run what cannot run in a transaction."""
    connection = psycopg2.connect(embedded_url(server_home, "postgres").replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def copy_database(server_home: Path, template: str, name: str) -> str:
    """Copy a database under a new name: quicker than migrating for each test. Gives the copy's URL."""
    administer(server_home, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    return embedded_url(server_home, name)


def drop_database(server_home: Path, name: str) -> None:
    """With whatever is still connected: MLflow keeps its connections to each store as long as the process lives."""
    administer(server_home, f"DROP DATABASE {name} WITH (FORCE)")


def copy_deployment(origin: Origin, server_home: Path, home: Path) -> Settings:
    """A deployment of the test's own, on a backbone of three layers, where retraining is due at 100 new images."""
    catalog, mlflow = (
        copy_database(server_home, template, f"{template.partition('_')[0]}_{secrets.token_hex(8)}")
        for template in (origin.catalog, origin.mlflow)
    )
    if origin.home is not None:
        shutil.copytree(origin.home, home)
        move_uris(sa.make_url(mlflow), origin.home.as_uri(), home.as_uri())
    update = {"mlflow_tracking_uri": mlflow, "new_images_threshold": 100, "snapshot_size": 200, "backbone": NAME}
    return small_settings(home, catalog).model_copy(update=update)


def drop_deployment(settings: Settings, server_home: Path) -> None:
    """Drop its databases."""
    for name in _databases(settings):
        drop_database(server_home, name)


def fill_deployment(settings: Settings, server_home: Path, fill: Callable[[Workspace], object]) -> Origin:
    """Make an origin of a deployment: put something in, and let nobody be connected to it any more."""
    with open_workspace(settings) as workspace:
        fill(workspace)
    names = _databases(settings)
    for name in names:
        administer(server_home, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    return Origin(*names, settings.mycoflow_home)


def _databases(settings: Settings) -> tuple[str, str]:
    assert settings.database_url is not None
    assert settings.mlflow_tracking_uri is not None
    urls = (settings.database_url.get_secret_value(), settings.mlflow_tracking_uri)
    catalog, mlflow = (str(sa.make_url(url).database) for url in urls)
    return catalog, mlflow
