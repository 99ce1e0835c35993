"""Accounts: logins, argon2id hashes and roles."""

import re
from dataclasses import dataclass
from typing import Literal, get_args

import sqlalchemy as sa
from argon2 import PasswordHasher
from sqlalchemy.exc import IntegrityError

from ml.catalog.tables import accounts
from ml.errors import AccountError

Role = Literal["user", "expert", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
PASSWORD_MIN_LENGTH = 12
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")


@dataclass(frozen=True)
class Account:
    """Who may use the service, without the password's hash."""

    id: int
    login: str
    role: Role


def add_account(connection: sa.Connection, login: str, role: str, password: str) -> Account:
    """Create an account.

    Args:
        login: lower-case letters, digits and . _ @ -, at most 64 characters.
        role: user, expert or admin.
        password: at least 12 characters; only its argon2id hash is kept.
    Raises: AccountError, one of them is not so, or the login is taken.
    """
    if not _LOGIN.fullmatch(login):
        raise AccountError(
            "Login: expected 1 to 64 lower-case letters, digits or . _ @ -, "
            f"starting with a letter or digit, got {login!r}."
        )
    if role not in ROLES:
        raise AccountError(f"Role: expected one of {', '.join(ROLES)}, got {role!r}.")
    if len(password) < PASSWORD_MIN_LENGTH:
        raise AccountError(f"Password: expected at least {PASSWORD_MIN_LENGTH} characters, got {len(password)}.")
    try:
        account_id = connection.execute(
            sa.insert(accounts)
            .values(login=login, role=role, password_hash=PasswordHasher().hash(password))
            .returning(accounts.c.id)
        ).scalar_one()
    except IntegrityError as error:
        raise AccountError(f"Login: {login!r} is taken. Choose another.") from error
    return Account(account_id, login, role)
