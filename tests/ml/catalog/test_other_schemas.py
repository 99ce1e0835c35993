"""A database whose schema is not this code's: one line says so and what to do, also in a process that runs already."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml.catalog.database import Catalog, migrate, open_catalog
from ml.errors import RegistryStateError, SchemaVersionError
from ml.registry.mlflow_registry import Registry
from ml.settings import Settings


def run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))
    engine.dispose()


def url_of(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


OTHERS = {
    "a newer migration": (["UPDATE alembic_version SET version_num = 'schema_9999'"], "newer release"),
    "two migrations": (["INSERT INTO alembic_version VALUES ('schema_9999')"], "has several: restore a backup"),
}


@pytest.mark.parametrize(("statements", "said"), OTHERS.values(), ids=OTHERS)
def test_another_schema_is_one_line(settings: Settings, statements: list[str], said: str) -> None:
    run(url_of(settings), *statements)
    for use in (lambda: open_catalog(settings).__enter__(), lambda: migrate(settings)):
        with pytest.raises(SchemaVersionError, match=said) as refused:
            use()
        assert "\n" not in str(refused.value)


def test_tables_without_a_migration_are_not_migrated_over(settings: Settings) -> None:
    run(url_of(settings), "DROP TABLE alembic_version")
    with pytest.raises(SchemaVersionError, match=r"cannot be migrated: .*already exists"):
        migrate(settings)


def test_somebody_elses_database_and_one_without_rights_are_one_line(new_database: Callable[[], str]) -> None:
    url = new_database()
    run(url, "DROP ROLE IF EXISTS nobody_much", "CREATE ROLE nobody_much LOGIN")
    try:
        limited = sa.make_url(url).set(username="nobody_much").render_as_string(hide_password=False)
        with pytest.raises(SchemaVersionError, match=r"cannot be migrated: permission denied"):
            migrate(Settings(database_url=SecretStr(limited)))
    finally:
        run(url, "DROP ROLE nobody_much")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users.accounts RENAME COLUMN login TO name",
        "ALTER TABLE users.accounts RENAME TO people",
        "ALTER SCHEMA users RENAME TO persons",
    ],
)
def test_a_schema_that_changes_under_a_running_process_is_one_line(
    catalog: Catalog, settings: Settings, statement: str
) -> None:
    query = sa.text("SELECT login FROM users.accounts")
    with catalog.begin() as connection:
        connection.execute(query)
    run(url_of(settings), statement)
    for use in (catalog.begin, catalog.autocommit):
        with pytest.raises(SchemaVersionError, match="restart this process with that release"), use() as connection:
            connection.execute(query)


def test_a_mistake_in_a_query_is_no_other_schema(catalog: Catalog) -> None:
    with pytest.raises(sa.exc.ProgrammingError), catalog.begin() as connection:
        connection.execute(sa.text("SELEC 1"))


def test_an_mlflow_of_another_release_is_one_line(mlflow_uri: str) -> None:
    run(mlflow_uri, "UPDATE alembic_version SET version_num = 'feedbeef0000'")
    with pytest.raises(RegistryStateError, match="If a newer one did, install that release of Mycoflow") as refused:
        Registry(mlflow_uri).champion()
    assert "\n" not in str(refused.value)
