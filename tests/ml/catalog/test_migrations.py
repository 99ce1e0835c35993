from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from pydantic import SecretStr

from ml.catalog.database import MIGRATIONS, Catalog, migrate, open_catalog
from ml.catalog.models.backbone_records import StoredTrunk, find_trunk, save_trunk
from ml.catalog.tables import metadata
from ml.errors import DatabaseUnavailableError, SchemaVersionError, SettingsError
from ml.settings import Settings


def test_the_tables_in_code_are_the_tables_that_the_migrations_make(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _parents: (kind, name) != ("schema", "tuning"),  # Optuna's, see below
            "compare_type": True,
            # Indexes live in the migrations alone: code never names one.
            "include_object": lambda _object, _name, kind, _reflected, _compared: kind != "index",
        }
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, metadata)
    assert differences == []


def test_the_tables_of_studies_are_those_that_optuna_would_make(catalog: Catalog) -> None:
    from optuna.storages._rdb.models import SCHEMA_VERSION, BaseModel

    with catalog.begin() as connection:
        connection.execute(sa.text("SET LOCAL search_path = tuning"))
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, BaseModel.metadata) == []
        version = connection.execute(sa.text("SELECT schema_version FROM version_info")).scalar_one()
    assert version == SCHEMA_VERSION


def test_migrating_twice_and_down_and_up_again_works(new_database: Callable[[], str], tmp_path: Path) -> None:
    url = new_database()
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr(url))
    migrate(settings)
    migrate(settings)
    engine = sa.create_engine(url)
    migrate_to(engine, "base", command.downgrade)
    with engine.begin() as connection:
        assert "training" not in sa.inspect(connection).get_schema_names()
    engine.dispose()
    migrate(settings)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        assert "training" in sa.inspect(connection).get_schema_names()


def migrate_to(engine: sa.Engine, revision: str, move: Callable[[Config, str], None] = command.upgrade) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        move(config, revision)


def test_trunks_from_before_int8_keep_their_recipe_and_are_fp32(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    url = new_database()
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr(url))
    engine = sa.create_engine(url)
    migrate_to(engine, "0003")
    recipe, sha256 = f"imagenet:{'a' * 64} 160px fp32 rgb-bilinear-1", "b" * 64
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO training.trunks (recipe, onnx_sha256) VALUES (:recipe, :sha256)"),
            {"recipe": recipe, "sha256": sha256},
        )
    migrate(settings)
    expected = StoredTrunk(recipe, sha256, sha256, f"imagenet:{'a' * 64}", "fp32", 160, None)
    int8 = replace(expected, recipe="int8", onnx_sha256="c" * 64, precision="int8", parity={"agreement": 1.0})
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        assert find_trunk(connection, recipe) == expected
        save_trunk(connection, int8)
        assert find_trunk(connection, "int8") == int8
    migrate_to(engine, "0003", command.downgrade)
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT recipe FROM training.trunks")).scalars().all() == [recipe]
    engine.dispose()


def test_an_external_database_that_was_not_migrated_is_refused_with_the_remedy(
    new_database: Callable[[], str], tmp_path: Path
) -> None:
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr(new_database()))
    with pytest.raises(SchemaVersionError, match="mycoflow migrate"), open_catalog(settings):
        pass


def test_a_server_that_does_not_answer_is_reported_as_unavailable(tmp_path: Path) -> None:
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(DatabaseUnavailableError, match="does not answer"), open_catalog(settings):
        pass


def test_a_database_url_of_another_kind_is_a_wrong_setting(tmp_path: Path) -> None:
    settings = Settings(mycoflow_home=tmp_path, database_url=SecretStr("sqlite:///x.db"))
    with pytest.raises(SettingsError, match="expected a postgresql"), open_catalog(settings):
        pass


@pytest.mark.parametrize(
    ("role", "table", "allowed"),
    [
        ("web", "users.accounts", True),
        ("web", "logs.predictions", True),
        ("web", "training.attempts", True),
        ("training", "users.accounts", False),
        ("training", "training.features", True),
        ("web", "training.trunks", True),
        ("training", "training.trunks", True),
        ("grafana_ro", "training.trunks", True),
        ("grafana_ro", "users.accounts", False),
        ("grafana_ro", "training.evaluations", True),
        ("grafana_ro", "training.drift_checks", True),
        ("grafana_ro", "public.alembic_version", True),
        ("web", "training.drift_checks", True),
        ("grafana_ro", "logs.predictions", True),
        ("training", "tuning.trials", True),
        ("web", "tuning.trials", False),
        ("grafana_ro", "tuning.trials", False),
    ],
)
def test_each_database_role_reads_what_it_needs_and_no_more(
    catalog: Catalog, role: str, table: str, allowed: bool
) -> None:
    with catalog.begin() as connection:
        may_read = connection.execute(sa.select(sa.func.has_table_privilege(role, table, "SELECT"))).scalar_one()
        schema = table.partition(".")[0]
        may_use = connection.execute(sa.select(sa.func.has_schema_privilege(role, schema, "USAGE"))).scalar_one()
    assert (may_read and may_use) is allowed


def test_no_role_but_the_owner_may_write_where_it_only_reads(catalog: Catalog) -> None:
    with catalog.begin() as connection:
        for role, table in [
            ("grafana_ro", "training.images"),
            ("web", "training.attempts"),
            ("web", "training.trunks"),
            ("web", "training.drift_checks"),
            ("web", "training.snapshots"),
            ("training", "tuning.alembic_version"),
            ("training", "tuning.version_info"),
        ]:
            for privilege in ("INSERT", "UPDATE", "DELETE"):
                granted = sa.select(sa.func.has_table_privilege(role, table, privilege))
                assert connection.execute(granted).scalar_one() is False, (role, table, privilege)


def test_roles_get_a_login_only_where_a_password_is_set(settings: Settings) -> None:
    with_password = settings.model_copy(update={"database_grafana_password": SecretStr("o'clock \\ 100%")})
    migrate(with_password)
    with open_catalog(settings) as catalog, catalog.begin() as connection:
        logins = dict(
            connection.execute(
                sa.text("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolname IN ('web', 'grafana_ro')")
            )
            .tuples()
            .all()
        )
    assert logins == {"web": False, "grafana_ro": True}
