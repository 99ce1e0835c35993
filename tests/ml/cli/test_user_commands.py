"""`mycoflow user ...`: arguments in, text out."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from ml.catalog.accounts.tokens import issue_token
from ml.catalog.accounts.user_accounts import find_account, find_token_account, put_demo_accounts, verify_password
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts
from ml.cli.user_commands import user_app
from ml.errors import AccountError
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


@pytest.mark.parametrize("command", ["disable", "reset"])
def test_an_unknown_login_is_refused(run: Run, command: str) -> None:
    with pytest.raises(AccountError, match="mycoflow user list"):
        run(command, "nobody", stdin=f"{PASSWORD}\n")


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
