"""One connection pool and one object store: the catalog that everything else is given."""

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg2 import sql
from pydantic import SecretStr
from sqlalchemy.engine.interfaces import DBAPIConnection, IsolationLevel
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from ml.catalog.embedded import embedded_url
from ml.catalog.locks import Lock, lock_migrations
from ml.catalog.models.home_choices import demand_home
from ml.catalog.object_store import ObjectStore, open_object_store
from ml.deadlines import Deadline
from ml.errors import BusyError, DatabaseUnavailableError, SchemaVersionError, SettingsError
from ml.settings import Settings

_USED_AT = "used_at"
_FRESH_SECONDS = 1.0
_LOCK_POLL_SECONDS = 0.05
# A server whose machine is gone is noticed within half a minute; by the system's defaults it takes two hours.
_CONNECTION = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
MIGRATIONS = Path(__file__).parent / "migrations"
_EARLIER_REVISION = re.compile(r"000[1-9]")  # the migrations that `schema_0001` replaced


@dataclass(frozen=True)
class Catalog:
    """What is known (PostgreSQL) and the bytes it speaks of (the object store).

    Args:
        singles: connections of which each statement is a transaction. SQLAlchemy could switch those of `engine` to that
            and back, but one that breaks in between would never return to the pool.
        deadline: no statement of a transaction, waiting for locks included, goes on after it.
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
        """A connection in a transaction: committed at the end of the block, rolled back by an error.

        Only read and write rows in it: what computes or asks others comes before or after, under a `lock` if need be.

        Raises: DatabaseUnavailableError, the server does not answer or went away, or the deadline came first.
        """
        with _translated_errors(), self.engine.begin() as connection:
            if self.deadline is not None:
                milliseconds = str(round(1000 * self.deadline.remaining()) or 1)  # 0 would mean: for ever
                connection.execute(sa.select(sa.func.set_config("statement_timeout", milliseconds, True)))
            yield connection

    @contextmanager
    def autocommit(self) -> Iterator[sa.Connection]:
        """A connection of which each statement is a transaction: for one query, without the round trips around it.

        Raises: as `begin`.
        """
        with _translated_errors(), self.singles.connect() as connection:
            yield connection

    @contextmanager
    def lock(self, lock: Lock) -> Iterator[None]:
        """Hold a lock for the length of the block, in no transaction. Wait for it first, at most to the deadline.

        Raises: BusyError, the deadline came first; DatabaseUnavailableError, also where the connection breaks
            meanwhile: somebody else may have the lock then.
        """
        with self.try_lock(lock, self.deadline or Deadline(float("inf"))) as is_held:
            if not is_held:
                raise BusyError(
                    "Somebody else was doing the same, and is not done in the time of a request. Try again."
                )
            yield

    @contextmanager
    def try_lock(self, lock: Lock, deadline: Deadline | None = None) -> Iterator[bool]:
        """The same; the block is told whether the lock is held. Without a deadline nothing is waited for."""
        with self.autocommit() as session:
            is_held = _take(session, lock, deadline or Deadline(0))
            try:
                yield is_held
            finally:
                if is_held:
                    session.execute(sa.select(sa.func.pg_advisory_unlock(*lock.key)))


def _take(session: sa.Connection, lock: Lock, deadline: Deadline) -> bool:
    """Ask again and again: a statement that waits would keep a snapshot, and hold up PostgreSQL's cleaning."""
    while not session.scalar(sa.select(sa.func.pg_try_advisory_lock(*lock.key))):
        if deadline.remaining() == 0:
            return False
        time.sleep(_LOCK_POLL_SECONDS)
    return True


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailableError(f"PostgreSQL does not answer: {error.orig}") from error
    except PoolTimeoutError as error:
        raise DatabaseUnavailableError(f"All connections to PostgreSQL are in use: {error}") from error


@contextmanager
def open_catalog(settings: Settings) -> Iterator[Catalog]:
    """Open the catalog that the settings name.

    The embedded database is brought to this code's migration; an external one must be there already, since only its
    owner may change it.

    Raises:
        DatabaseUnavailableError: the server does not answer.
        SchemaVersionError: an external database is at another migration, or either was made by an earlier checkout or
            by a newer one.
        SettingsError: the home is another task's or another model's.
    """
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
    """An engine on DATABASE_URL, or on the embedded server when that is empty.

    Raises: SettingsError, DATABASE_URL is not a PostgreSQL URL; DatabaseUnavailableError, no embedded server.
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
        max_overflow=20,  # in all a little more than the service has threads
        pool_timeout=5,
        connect_args=_CONNECTION,
    )
    sa.event.listen(engine, "connect", _speak_utc)
    _ping_after_rest(engine)
    return engine


def _speak_utc(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Moments come as UTC, whatever the server's zone: pages say UTC, and a pool state that holds one stays the same.

    By a statement: poolers between us and the server refuse what a connection asks for at its start.
    """
    cursor = connection.cursor()
    cursor.execute("SET TIME ZONE 'UTC'")
    cursor.close()
    connection.commit()


def _ping_after_rest(engine: sa.Engine) -> None:
    """Try a pooled connection before it is used again, unless it was used a moment ago.

    SQLAlchemy's own `pool_pre_ping` tries it always; a service that answers hundreds of requests a second feels that.
    One that broke within that moment fails its transaction, and takes the rest of the pool with it.

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
    """Bring the database to this code's migration and give the roles their passwords. Safe to repeat.

    Raises: DatabaseUnavailableError; SchemaVersionError, it was made by an earlier checkout or by a newer one.
    """
    engine = create_engine(settings)
    try:
        _migrate(engine, settings)
    finally:
        engine.dispose()


def _migrate(engine: sa.Engine, settings: Settings) -> None:
    try:
        with engine.begin() as connection:
            lock_migrations(connection)
            current = _current_revision(connection)
            if current != head_revision():
                _demand_known_revision(current, settings)
                config = _alembic_config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            _set_passwords(connection, settings)
    except OperationalError as error:
        raise DatabaseUnavailableError(f"PostgreSQL does not answer: {error.orig}") from error


def _demand_current_schema(engine: sa.Engine, settings: Settings) -> None:
    try:
        with engine.connect() as connection:
            current = _current_revision(connection)
    except OperationalError as error:
        raise DatabaseUnavailableError(f"PostgreSQL does not answer: {error.orig}") from error
    if current != head_revision():
        _demand_known_revision(current, settings)
        raise SchemaVersionError(
            f"The database is at migration {current}, expected {head_revision()}. Run `mycoflow migrate`."
        )


def _demand_known_revision(current: str | None, settings: Settings) -> None:
    """Refuse a database that no migration of this code leads on from. One at no migration is new."""
    if current is None or is_known_revision(current):
        return
    name, remedy = "The database that DATABASE_URL names", "name an empty database there, then run `mycoflow migrate`"
    if settings.database_url is None:
        name = f"The embedded database in {settings.mycoflow_home}"
        remedy = "move that folder away or set MYCOFLOW_HOME to a new one; every command makes what it needs there"
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


def _current_revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str:
    """The migration that this code expects."""
    return str(ScriptDirectory.from_config(_alembic_config()).get_current_head())


def is_known_revision(revision: str) -> bool:
    """Whether this code has a migration of that name."""
    return any(each.revision == revision for each in ScriptDirectory.from_config(_alembic_config()).walk_revisions())


def is_earlier_revision(revision: str) -> bool:
    """Whether a migration is one of those that nothing leads on from: of a checkout before the first release."""
    return _EARLIER_REVISION.fullmatch(revision) is not None


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
