"""Accounts: logins, argon2id hashes and roles."""

import re
import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.exc import IntegrityError

from ml.catalog.accounts.tokens import is_good_token, revoke_tokens, token_digest
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts, tokens
from ml.errors import AccountError

Role = Literal["user", "expert", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may
PASSWORD_MIN_LENGTH = 12
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_HASHER = PasswordHasher()


@dataclass(frozen=True)
class Account:
    """Who may use the service, without the password's hash."""

    id: int
    login: str
    role: Role


@dataclass(frozen=True)
class StoredAccount:
    """An account as it is stored."""

    account: Account
    password_hash: str
    created_at: datetime
    is_disabled: bool


def add_account(catalog: Catalog, login: str, role: str, password: str) -> Account:
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
    row = sa.insert(accounts).values(login=login, role=role, password_hash=_hash(password))
    try:
        with catalog.begin() as connection:
            account_id = connection.execute(row.returning(accounts.c.id)).scalar_one()
    except IntegrityError as error:
        raise AccountError(f"Login: {login!r} is taken. Choose another.") from error
    return Account(account_id, login, role)


def find_account(connection: sa.Connection, login: str) -> StoredAccount | None:
    """The account with a login, disabled or not; None for whatever cannot be or is not a login."""
    if not _LOGIN.fullmatch(login):
        return None
    row = connection.execute(sa.select(accounts).where(accounts.c.login == login)).one_or_none()
    return None if row is None else _stored(row)


# Built once: nearly every request asks it.
_FIND_TOKEN_ACCOUNT = (
    sa.select(accounts.c.id, accounts.c.login, accounts.c.role)
    .join(tokens)
    .where(is_good_token(), accounts.c.disabled_at.is_(None))
)


def find_token_account(connection: sa.Connection, token: str) -> Account | None:
    """Whose token this is; None when it is unknown, expired or revoked, or the account is disabled."""
    row = connection.execute(_FIND_TOKEN_ACCOUNT, {"token_sha256": token_digest(token)}).one_or_none()
    return None if row is None else Account(*row)


def list_accounts(connection: sa.Connection) -> list[StoredAccount]:
    """All accounts, by login."""
    return [_stored(row) for row in connection.execute(sa.select(accounts).order_by(accounts.c.login))]


def verify_password(stored: StoredAccount | None, password: str) -> bool:
    """Whether a password is an account's. Takes as long for no account as for a wrong password."""
    password_hash = stored.password_hash if stored else _nobodys_hash()
    try:
        return _HASHER.verify(password_hash, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def rehash_password(catalog: Catalog, stored: StoredAccount, password: str) -> None:
    """Store the right password anew if its hash was made with older parameters than today's."""
    if not _HASHER.check_needs_rehash(stored.password_hash):
        return
    is_unchanged = (accounts.c.id == stored.account.id) & (accounts.c.password_hash == stored.password_hash)
    change = sa.update(accounts).where(is_unchanged).values(password_hash=_HASHER.hash(password))
    with catalog.begin() as connection:
        connection.execute(change)


def disable_account(connection: sa.Connection, login: str) -> None:
    """Let an account in no more, whatever it presents.

    Raises: AccountError, no account has that login.
    """
    _change(connection, login, disabled_at=sa.func.clock_timestamp())


def reset_account(catalog: Catalog, login: str, password: str) -> None:
    """Give an account another password, end its sessions, and let it in again if it was disabled.

    Raises: AccountError, no account has that login, or the password is too short.
    """
    password_hash = _hash(password)
    with catalog.begin() as connection:
        _change(connection, login, password_hash=password_hash, disabled_at=None)


def erase_account(connection: sa.Connection, account: Account) -> None:
    """Delete an account and its tokens. Its predictions and feedback stay, and nobody knows whose they were.

    Raises: AccountError, it is the last admin that is not disabled.
    """
    admins = sa.select(accounts.c.id).where(accounts.c.role == "admin", accounts.c.disabled_at.is_(None))
    # Two admins who go at the same moment wait for each other here.
    ids = connection.execute(admins.order_by(accounts.c.id).with_for_update()).scalars().all()
    if list(ids) == [account.id]:
        raise AccountError(f"{account.login!r} is the last admin. Create another admin before erasing this one.")
    connection.execute(sa.delete(accounts).where(accounts.c.id == account.id))


def put_demo_accounts(catalog: Catalog) -> dict[str, str]:
    """Give alice (user), bob (admin) and clementine (expert) fresh random passwords, creating who is not there.

    Returns: the passwords by login, to be shown once.
    """
    roles: dict[str, Role] = {"alice": "user", "bob": "admin", "clementine": "expert"}
    passwords = {login: secrets.token_urlsafe(12) for login in roles}
    for login, role in roles.items():
        with catalog.begin() as connection:
            is_there = find_account(connection, login) is not None
        if is_there:
            reset_account(catalog, login, passwords[login])
        else:
            add_account(catalog, login, role, passwords[login])
    return passwords


def _stored(row: sa.Row[tuple[object, ...]]) -> StoredAccount:
    account = Account(row.id, row.login, row.role)
    return StoredAccount(account, row.password_hash, row.created_at, row.disabled_at is not None)


def _hash(password: str) -> str:
    if len(password) < PASSWORD_MIN_LENGTH:
        raise AccountError(f"Password: expected at least {PASSWORD_MIN_LENGTH} characters, got {len(password)}.")
    return _HASHER.hash(password)


def _nobodys_hash() -> str:
    """A hash that no password has, at the price of a real one."""
    salt, digest = (
        b64encode(secrets.token_bytes(n)).rstrip(b"=").decode() for n in (_HASHER.salt_len, _HASHER.hash_len)
    )
    return f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}${salt}${digest}"


def _change(connection: sa.Connection, login: str, **values: object) -> None:
    account_id = connection.execute(
        sa.update(accounts).where(accounts.c.login == login).values(**values).returning(accounts.c.id)
    ).scalar_one_or_none()
    if account_id is None:
        raise AccountError(f"Login: expected an existing account, got {login!r}. `mycoflow user list` names them.")
    revoke_tokens(connection, account_id)
