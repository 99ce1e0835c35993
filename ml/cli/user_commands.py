"""`mycoflow user ...`: the accounts of the prediction service."""

import sys
from typing import Annotated

import typer
from rich.table import Table

from ml.catalog.accounts import user_accounts
from ml.catalog.database import open_catalog
from ml.cli.terminal import catalog_connection, out, person
from ml.data.harvest import take_back
from ml.settings import load_settings
from ml.upkeep import managed_accounts
from ml.upkeep.erasing import erase_login
from ml.upkeep.role_changes import assign_role

user_app = typer.Typer(help="Accounts of the prediction service.", no_args_is_help=True)

Login = Annotated[str, typer.Argument(help="Lower-case letters, digits and . _ @ -")]


@user_app.command("add")
def add_user(
    login: Login, role: Annotated[user_accounts.Role, typer.Option(help="Role of the account; it decides the rights.")]
) -> None:
    """Create an account. Read the password from a prompt or from standard input."""
    password = _read_password()
    with open_catalog(load_settings()) as catalog:
        account = managed_accounts.create_account(catalog, login, role, password, person())
    out.print(f"Account {account.login} ({account.role}) created.")


@user_app.command("list")
def list_users() -> None:
    """List the accounts. The audit log names an account by its id: `account:7`."""
    with catalog_connection() as connection:
        stored = user_accounts.list_accounts(connection)
    table = Table("id", "login", "role", "created", "state")
    for row in stored:
        created = row.created_at.strftime("%Y-%m-%d %H:%M")
        table.add_row(
            str(row.account.id), row.account.login, row.account.role, created, "disabled" if row.is_disabled else ""
        )
    out.print(table if stored else "No account yet. Create one with `mycoflow user add`.")


@user_app.command("disable")
def disable_user(login: Login) -> None:
    """Disable an account and end its sessions. Its predictions and feedback stay."""
    with open_catalog(load_settings()) as catalog:
        managed_accounts.disable(catalog, login, person())
    out.print(f"Account {login} is disabled. `mycoflow user reset {login}` enables it again.")


@user_app.command("reset")
def reset_user(login: Login) -> None:
    """Set a new password, end the account's sessions, and enable the account if it was disabled."""
    password = _read_password()
    with open_catalog(load_settings()) as catalog:
        managed_accounts.reset(catalog, login, password, person())
    out.print(f"Account {login} has a new password.")


@user_app.command("role")
def change_role(
    login: Login, role: Annotated[user_accounts.Role, typer.Argument(help="The new role; it decides the rights.")]
) -> None:
    """Give an account another role."""
    with open_catalog(load_settings()) as catalog:
        account = assign_role(catalog, login, role, person())
    out.print(f"Account {account.login} is {account.role} now.")


@user_app.command("erase")
def erase_user(login: Login) -> None:
    """Erase an account for good, with its sessions. Its predictions and feedback stay, anonymous."""
    with open_catalog(load_settings()) as catalog:
        erase_login(catalog, login, person())
    out.print(f"Account {login} is erased.")


@user_app.command("take-back")
def take_back_images(login: Login) -> None:
    """Remove all images of an account from the pool and the evaluation set. They wait for another person's decision."""
    with catalog_connection() as connection:
        count = take_back(connection, user_accounts.demand_account(connection, login).id, person())
    out.print(f"{count} images taken out. POST /data/update certifies those with correct labels.")


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\n")
