"""Open the catalog: PostgreSQL connections and the object store. All other code receives it as an argument."""

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg2 import sql
from psycopg2.errors import (
    ForeignKeyViolation,
    InvalidSchemaName,
    QueryCanceled,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedTable,
)
from pydantic import SecretStr
from sqlalchemy.engine.interfaces import DBAPIConnection, IsolationLevel
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from ml.catalog.embedded import embedded_url, restart_in_background
from ml.catalog.home_choices import demand_home, demand_restored
from ml.catalog.locks import Lock, lock_migrations, try_share_restore
from ml.catalog.object_store import ObjectStore, open_object_store
from ml.catalog.vector_extension import ensure_extension
from ml.deadlines import Deadline
from ml.errors import (
    BusyError,
    DatabaseUnavailableError,
    ErasedAccountError,
    SchemaVersionError,
    SettingsError,
    TimeOverError,
)
from ml.settings import Settings

_USED_AT = "used_at"
_FRESH_SECONDS = 1.0
_LOCK_POLL_SECONDS = 0.05
# With these values a client notices within 30 seconds that the server's machine is gone; the system's defaults need
# two hours.
_CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_TIME_OVER = "The request was not finished in its time. Try again."
MIGRATIONS = Path(__file__).parent / "migrations"
_OTHER_SCHEMA = (UndefinedTable, UndefinedColumn, UndefinedFunction, InvalidSchemaName)
_EARLIER_REVISION = re.compile(r"000[1-9]")  # migrations before the first release, which `schema_0001` replaced


@dataclass(frozen=True)
class Catalog:
    """The rows (PostgreSQL) and the files that they name (the object store).

    Args:
        engine: connections for transactions.
        singles: connections in autocommit mode. SQLAlchemy could switch a connection of `engine` to that mode and back,
            but a connection that breaks in between would never return to the pool.
        deadline: PostgreSQL cancels the statements of a transaction after it, even those that wait for a lock.
    """

    engine: sa.Engine
    singles: sa.Engine
    store: ObjectStore
    deadline: Deadline | None = None

    def until(self, deadline: Deadline) -> "Catalog":
        """Return the same catalog with a deadline for its transactions."""
        return replace(self, deadline=deadline)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a transaction. The end of the block commits it, an error rolls it back.

        Only read and write rows in the block. Compute, and send requests to other services, before or after it; if
        necessary under a `lock`.

        Raises: DatabaseUnavailableError, the server does not answer, or the connection broke; TimeOverError, the
            deadline passed; ErasedAccountError, a row names an account that was erased.
        """
        with _translated_errors(self.deadline), self.engine.begin() as connection:
            if self.deadline is not None:
                milliseconds = str(round(1000 * self.deadline.remaining()) or 1)  # 0 would mean no limit
                connection.execute(sa.select(sa.func.set_config("statement_timeout", milliseconds, True)))
            yield connection

    @contextmanager
    def autocommit(self) -> Iterator[sa.Connection]:
        """Open a connection in autocommit mode. A single query needs fewer round trips there than in a transaction.

        Raises: as `begin`.
        """
        with _translated_errors(), self.singles.connect() as connection:
            yield connection

    @contextmanager
    def lock(self, lock: Lock) -> Iterator[None]:
        """Wait for a lock until the deadline, then hold it during the block, without a transaction.

        Raises: BusyError, the deadline passed; DatabaseUnavailableError, the server does not answer, or the connection
            broke during the block, so that another session may hold the lock.
        """
        with self.try_lock(lock, self.deadline or Deadline(float("inf"))) as is_held:
            if not is_held:
                raise BusyError(
                    "Another request is doing the same work, and did not finish in the time of a request. Try again."
                )
            yield

    @contextmanager
    def try_lock(self, lock: Lock, deadline: Deadline | None = None) -> Iterator[bool]:
        """Try to take a lock until a deadline, and yield whether it is held now. Without a deadline, try once."""
        with self.autocommit() as session:
            is_held = acquire_lock(session, lock, deadline or Deadline(0))
            try:
                yield is_held
            finally:
                if is_held:
                    session.execute(sa.select(sa.func.pg_advisory_unlock(*lock.key)))


def acquire_lock(session: sa.Connection, lock: Lock, deadline: Deadline) -> bool:
    """Poll for a lock until a deadline, and return whether the session holds it now, until its connection closes.

    A statement that waits would keep a database snapshot open, which stops PostgreSQL's vacuum.

    Args: session, a connection in autocommit mode.
    """
    while not session.scalar(sa.select(sa.func.pg_try_advisory_lock(*lock.key))):
        if deadline.remaining() == 0:
            return False
        time.sleep(_LOCK_POLL_SECONDS)
    return True


@contextmanager
def _translated_errors(deadline: Deadline | None = None) -> Iterator[None]:
    if deadline is not None and deadline.remaining() == 0:
        raise TimeOverError(_TIME_OVER)
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if deadline is not None and isinstance(error.orig, QueryCanceled):
            raise TimeOverError(_TIME_OVER) from error
        raise DatabaseUnavailableError(f"PostgreSQL does not answer: {error.orig}") from error
    except ProgrammingError as error:
        if not isinstance(error.orig, _OTHER_SCHEMA):
            raise
        raise SchemaVersionError(
            f"The database lacks what this code expects: {_first_line(error)}. Another release migrated it while this "
            "process ran: restart this process with that release."
        ) from error
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError(f"All connections to PostgreSQL are in use: {error}") from error
    except IntegrityError as error:
        if not _names_erased_account(error):
            raise
        raise ErasedAccountError(
            "Expected an account that exists, but this one was erased meanwhile. Nothing was stored."
        ) from error


def _names_erased_account(error: IntegrityError) -> bool:
    """Whether a row refers to an account that does not exist: it was erased after the request was authenticated."""
    cause = error.orig
    return isinstance(cause, ForeignKeyViolation) and str(cause.diag.constraint_name).endswith("_account_id_fkey")


@contextmanager
def open_catalog(settings: Settings) -> Iterator[Catalog]:
    """Open the catalog that the settings name.

    The function migrates the embedded database. It never migrates an external database, because only the owner of that
    database may change it.

    Raises:
        DatabaseUnavailableError: the server does not answer, or a backup is being restored into the embedded database.
        SchemaVersionError: an external database is at another migration, or a newer release or a checkout before the
            first release made the database.
        SettingsError: the home belongs to another task or another model, or a restore into it was killed.
    """
    demand_restored(settings)
    engine, singles = create_engine(settings), create_engine(settings, "AUTOCOMMIT")
    try:
        if settings.database_url is None:
            _migrate(engine, settings)
        else:
            _demand_current_schema(engine, settings)
        catalog = Catalog(engine, singles, open_object_store(settings))
        with catalog.begin() as connection:
            demand_home(connection, settings)
        yield catalog
    finally:
        engine.dispose()
        singles.dispose()


def create_engine(settings: Settings, isolation_level: IsolationLevel = "READ COMMITTED") -> sa.Engine:
    """Return an engine for DATABASE_URL, or for the embedded server if DATABASE_URL is empty.

    Raises: SettingsError, DATABASE_URL is not a PostgreSQL URL; DatabaseUnavailableError, the embedded server does not
        start.
    """
    if settings.database_url is None:
        url = sa.make_url(embedded_url(settings.mycoflow_home, "mycoflow"))
    else:
        try:
            url = sa.make_url(settings.database_url.get_secret_value())
        except sa.exc.ArgumentError as error:
            raise SettingsError("DATABASE_URL: expected postgresql://user:password@host/database") from error
        if url.get_backend_name() != "postgresql":
            raise SettingsError(f"DATABASE_URL: expected a postgresql:// URL, got {url.get_backend_name()}://")
        url = url.set(drivername="postgresql+psycopg2")
    engine = sa.create_engine(
        url,
        isolation_level=isolation_level,
        pool_size=5,
        max_overflow=20,  # 25 connections in all, a few more than the service has threads
        pool_timeout=5,
        connect_args=_CONNECTION,
    )
    if settings.database_url is None:
        _restart_when_down(engine, settings.mycoflow_home)
    sa.event.listen(engine, "connect", _set_time_zone)
    _ping_idle_connections(engine)
    return engine


def _restart_when_down(engine: sa.Engine, home: Path) -> None:
    """Start the embedded server again when a new connection shows that it has ended.

    This connection fails at once: a start takes seconds, and a request has a deadline.
    """

    def connect(
        dialect: sa.Dialect, _record: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> DBAPIConnection:
        try:
            return dialect.connect(*arguments, **options)
        except dialect.loaded_dbapi.OperationalError:
            restart_in_background(home)
            raise

    sa.event.listen(engine, "do_connect", connect)


def _set_time_zone(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Set a new connection's time zone to UTC: web pages show UTC, and the text of a pool state contains a time.

    The function executes a statement, because connection poolers such as PgBouncer refuse startup parameters.
    """
    cursor = connection.cursor()
    cursor.execute("SET TIME ZONE 'UTC'")
    cursor.close()
    connection.commit()


def _ping_idle_connections(engine: sa.Engine) -> None:
    """Ping a pooled connection before its next use, unless it was used within the last _FRESH_SECONDS.

    SQLAlchemy's own `pool_pre_ping` pings before every use, which is slow at hundreds of requests a second. If a
    connection breaks within _FRESH_SECONDS, its transaction fails, and SQLAlchemy replaces all pooled connections.

    Source: SQLAlchemy, "Custom / Legacy Pessimistic Ping".
    """

    def note(_connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        record.info[_USED_AT] = time.monotonic()

    def ping(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        used_at = record.info.get(_USED_AT)
        if used_at is None or time.monotonic() - used_at < _FRESH_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError from error

    sa.event.listen(engine, "checkin", note)
    sa.event.listen(engine, "checkout", ping)


def migrate(settings: Settings) -> None:
    """Migrate the database to this code's schema, and set the passwords of the roles. Safe to repeat.

    Raises: DatabaseUnavailableError, also while a backup is restored into the database; SchemaVersionError, a newer
        release or a checkout before the first release made the database.
    """
    demand_restored(settings)
    engine = create_engine(settings)
    try:
        _migrate(engine, settings)
    finally:
        engine.dispose()


def _migrate(engine: sa.Engine, settings: Settings) -> None:
    try:
        with engine.begin() as connection:
            lock_migrations(connection)
            if not try_share_restore(connection):
                raise DatabaseUnavailableError(
                    f"{_name_database(settings)} is being restored from a backup. Wait for the end of the restore, "
                    "then try again."
                )
            current = _current_revision(connection, settings)
            if current != head_revision():
                _demand_known_revision(current, settings)
                config = _alembic_config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            ensure_extension(connection)
            _set_passwords(connection, settings)
    except OperationalError as error:
        raise DatabaseUnavailableError(f"PostgreSQL does not answer: {error.orig}") from error
    except (ProgrammingError, InternalError) as error:
        raise SchemaVersionError(
            f"{_name_database(settings)} cannot be migrated: {_first_line(error)}. Expected an empty database, or one "
            "of Mycoflow, and a user who owns it. Correct DATABASE_URL, or restore a backup."
        ) from error


def _demand_current_schema(engine: sa.Engine, settings: Settings) -> None:
    try:
        with engine.connect() as connection:
            current = _current_revision(connection, settings)
    except OperationalError as error:
        raise DatabaseUnavailableError(f"PostgreSQL does not answer: {error.orig}") from error
    except ProgrammingError as error:
        raise SchemaVersionError(
            f"The migration of the database cannot be read: {_first_line(error)}. Run `mycoflow migrate` as the user "
            "who owns the database."
        ) from error
    if current != head_revision():
        _demand_known_revision(current, settings)
        raise SchemaVersionError(
            f"The database is at migration {current}, expected {head_revision()}. Run `mycoflow migrate`."
        )


def _demand_known_revision(current: str | None, settings: Settings) -> None:
    """Refuse a database at a migration that this code cannot continue from. A database without a migration is new."""
    if current is None or is_known_revision(current):
        return
    name, remedy = _name_database(settings), "name an empty database there, then run `mycoflow migrate`"
    if settings.database_url is None:
        remedy = "move that folder away or set MYCOFLOW_HOME to a new one; every command creates the files it needs"
    if is_earlier_revision(current):
        raise SchemaVersionError(
            f"{name} was made by an earlier checkout (migration {current}), whose data cannot be carried over: "
            f"{remedy}."
        )
    raise SchemaVersionError(
        f"{name} is at migration {current}, which this code, at {head_revision()}, does not know: a newer release "
        "migrated it, so update Mycoflow."
    )


def _set_passwords(connection: sa.Connection, settings: Settings) -> None:
    roles: dict[str, SecretStr | None] = {
        "web": settings.database_web_password,
        "training": settings.database_training_password,
        "grafana_ro": settings.database_grafana_password,
    }
    for role, password in roles.items():
        if password is not None:
            # A role's password cannot be a bound parameter, so psycopg2 quotes it.
            statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(password.get_secret_value())
            )
            with closing(connection.connection.cursor()) as cursor:
                cursor.execute(statement)


def _current_revision(connection: sa.Connection, settings: Settings) -> str | None:
    try:
        return MigrationContext.configure(connection).get_current_revision()
    except CommandError as error:
        raise SchemaVersionError(
            f"Expected one migration in alembic_version. {_name_database(settings)} has several: restore a backup."
        ) from error


def _name_database(settings: Settings) -> str:
    if settings.database_url is None:
        return f"The embedded database in {settings.mycoflow_home}"
    return "The database that DATABASE_URL names"


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0]


def head_revision() -> str:
    """Return the migration that this code expects."""
    return str(ScriptDirectory.from_config(_alembic_config()).get_current_head())


def is_known_revision(revision: str) -> bool:
    """Return whether this code has a migration with that id."""
    return any(each.revision == revision for each in ScriptDirectory.from_config(_alembic_config()).walk_revisions())


def is_earlier_revision(revision: str) -> bool:
    """Return whether a migration id is of a checkout before the first release. No migration continues from those."""
    return _EARLIER_REVISION.fullmatch(revision) is not None


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # an ini file interpolates
    config.set_main_option("recursive_version_locations", "true")  # one folder would be crowded
    return config
