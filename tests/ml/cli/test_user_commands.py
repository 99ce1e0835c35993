"""`mycoflow user ...`: arguments in, text out."""

import getpass
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import find_account, find_token_account, put_demo_accounts, verify_password
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts, events
from ml.cli.user_commands import user_app
from ml.errors import AccountError, LastAdminError, UnknownAccountError
from ml.settings import Settings

PASSWORD = "correct horse battery"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `mycoflow user ...` on the test's database; expected errors are raised."""
    assert settings.database_url is not None
    monkeypatch.setenv("MYCOFLOW_HOME", str(settings.mycoflow_home))
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())

    def run_command(*arguments: str, stdin: str = "") -> tuple[int, str]:
        result = CliRunner().invoke(user_app, arguments, input=stdin)
        if isinstance(result.exception, AccountError):
            raise result.exception
        return result.exit_code, result.output

    return run_command


def is_let_in(catalog: Catalog, login: str, password: str) -> bool:
    with catalog.begin() as connection:
        stored = find_account(connection, login)
    return verify_password(stored, password) and stored is not None and not stored.is_disabled


def test_accounts_are_added_and_listed(run: Run) -> None:
    assert "No account yet" in run("list")[1]
    assert run("add", "bob", "--role", "admin", stdin=f"{PASSWORD}\n") == (0, "Account bob (admin) created.\n")
    assert run("add", "alice", "--role", "user", stdin=f"{PASSWORD}\n")[0] == 0
    status, said = run("list")
    assert (status, said.index("alice") < said.index("bob"), "admin" in said) == (0, True, True)
    assert "argon2" not in said


def test_a_disabled_account_and_its_tokens_are_refused_until_a_reset(run: Run, catalog: Catalog) -> None:
    run("add", "alice", "--role", "user", stdin=f"{PASSWORD}\n")
    with catalog.begin() as connection:
        account_id = connection.execute(sa.select(accounts.c.id)).scalar_one()
        token = issue_token(connection, account_id, timedelta(hours=1)).token
    assert is_let_in(catalog, "alice", PASSWORD)
    assert "disabled" in run("disable", "alice")[1]
    assert "disabled" in run("list")[1]
    assert not is_let_in(catalog, "alice", PASSWORD)

    assert "new password" in run("reset", "alice", stdin="another good password\n")[1]
    assert is_let_in(catalog, "alice", "another good password")
    assert not is_let_in(catalog, "alice", PASSWORD)
    with catalog.begin() as connection:
        assert find_token_account(connection, token) is None


@pytest.mark.parametrize("command", ["disable", "reset", "role", "erase", "take-back"])
def test_an_unknown_login_is_refused(run: Run, command: str) -> None:
    with pytest.raises(UnknownAccountError, match="mycoflow user list"):
        run(command, "nobody", *(["user"] if command == "role" else []), stdin=f"{PASSWORD}\n")


def test_the_list_gives_the_id_that_the_audit_log_names(run: Run, catalog: Catalog) -> None:
    run("add", "alice", "--role", "user", stdin=f"{PASSWORD}\n")
    with catalog.begin() as connection:
        connection.execute(sa.text("ALTER TABLE users.accounts ALTER COLUMN id RESTART WITH 4711"))
    run("add", "bob", "--role", "user", stdin=f"{PASSWORD}\n")
    assert "4711" in run("list")[1]


def test_a_role_is_changed_and_an_account_erased_with_a_trace(run: Run, catalog: Catalog) -> None:
    run("add", "alice", "--role", "user", stdin=f"{PASSWORD}\n")
    assert run("role", "alice", "expert") == (0, "Account alice is expert now.\n")
    assert "expert" in run("list")[1]
    assert run("erase", "alice") == (0, "Account alice is erased.\n")
    assert "No account yet" in run("list")[1]
    with catalog.begin() as connection:
        told = connection.execute(sa.select(events.c.kind, events.c.actor, events.c.detail)).all()
    assert [row.kind for row in told] == ["account.added", "account.role_changed", "account.erased"]
    assert {row.actor for row in told} == {getpass.getuser()}
    assert "alice" not in str([row.detail for row in told])


@pytest.mark.parametrize("arguments", [("disable", "bob"), ("erase", "bob"), ("role", "bob", "user")])
def test_the_last_admin_stays_until_there_is_another(run: Run, arguments: tuple[str, ...]) -> None:
    run("add", "bob", "--role", "admin", stdin=f"{PASSWORD}\n")
    with pytest.raises(LastAdminError, match="Create another admin first"):
        run(*arguments)
    run("add", "alice", "--role", "admin", stdin=f"{PASSWORD}\n")
    assert run(*arguments)[0] == 0


def test_a_short_password_changes_nothing(run: Run, catalog: Catalog) -> None:
    run("add", "alice", "--role", "user", stdin=f"{PASSWORD}\n")
    with pytest.raises(AccountError, match="12 characters"):
        run("reset", "alice", stdin="short\n")
    assert is_let_in(catalog, "alice", PASSWORD)


def test_the_demos_accounts_get_new_passwords_each_time(catalog: Catalog) -> None:
    first, second = put_demo_accounts(catalog), put_demo_accounts(catalog)
    with catalog.begin() as connection:
        roles = dict(connection.execute(sa.select(accounts.c.login, accounts.c.role)).tuples().all())
    assert roles == {"alice": "user", "bob": "admin", "clementine": "expert"}
    assert len({*first.values(), *second.values()}) == 6
    assert is_let_in(catalog, "bob", second["bob"])
    assert not is_let_in(catalog, "bob", first["bob"])
