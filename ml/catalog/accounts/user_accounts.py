"""Accounts: logins, argon2id hashes and roles."""

import re
import secrets
from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, get_args

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.exc import IntegrityError

from ml.catalog.accounts.tokens import is_valid_token, revoke_tokens, token_digest
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts, feedback, review_decisions, tokens
from ml.errors import AccountError, LastAdminError, UnknownAccountError

Role = Literal["user", "expert", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each role includes the rights of the roles before it
PASSWORD_MIN_LENGTH = 12
_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_HASHER = PasswordHasher()


@dataclass(frozen=True)
class Account:
    """An account of the service, without the password hash."""

    id: int
    login: str
    role: Role


@dataclass(frozen=True)
class StoredAccount:
    """A row of the accounts table."""

    account: Account
    password_hash: str
    created_at: datetime
    is_disabled: bool


def add_account(catalog: Catalog, login: str, role: str, password: str) -> Account:
    """Create an account.

    Args:
        login: lower-case letters, digits and . _ @ -, at most 64 characters.
        role: user, expert or admin.
        password: at least 12 characters; only its argon2id hash is stored.
    Raises: AccountError, an argument does not have this form, or the login is taken.
    """
    _demand_login(login)
    _read_role(role)
    password_hash = hash_password(password)
    with catalog.begin() as connection:
        return insert_account(connection, login, role, password_hash)


def insert_account(connection: sa.Connection, login: str, role: str, password_hash: str) -> Account:
    """Create an account whose password has this hash.

    Raises: AccountError, the login or the role has another form, or the login is taken; then roll back.
    """
    _demand_login(login)
    known_role = _read_role(role)
    row = sa.insert(accounts).values(login=login, role=role, password_hash=password_hash)
    try:
        account_id = connection.execute(row.returning(accounts.c.id)).scalar_one()
    except IntegrityError as error:
        raise AccountError(f"Login: {login!r} is taken. Choose another.") from error
    return Account(account_id, login, known_role)


def find_account(connection: sa.Connection, login: str) -> StoredAccount | None:
    """Return the account with a login, even if it is disabled; None if there is no such login."""
    if not _LOGIN.fullmatch(login):
        return None
    row = connection.execute(sa.select(accounts).where(accounts.c.login == login)).one_or_none()
    return None if row is None else _read_account(row)


def demand_account(connection: sa.Connection, login: str) -> Account:
    """Return the account with a login, even if it is disabled.

    Raises: UnknownAccountError.
    """
    stored = find_account(connection, login)
    if stored is None:
        raise _unknown(login)
    return stored.account


# Built once, because nearly every request runs it.
_FIND_TOKEN_ACCOUNT = (
    sa.select(accounts.c.id, accounts.c.login, accounts.c.role)
    .join(tokens)
    .where(is_valid_token(), accounts.c.disabled_at.is_(None))
)


def find_token_account(connection: sa.Connection, token: str) -> Account | None:
    """Return the account that owns a token; None if the token is not valid, or if the account is disabled."""
    row = connection.execute(_FIND_TOKEN_ACCOUNT, {"token_sha256": token_digest(token)}).one_or_none()
    return None if row is None else Account(*row)


def is_any_account(connection: sa.Connection) -> bool:
    """Return whether there is an account."""
    return connection.execute(sa.select(sa.exists().select_from(accounts))).scalar_one()


def list_accounts(connection: sa.Connection) -> list[StoredAccount]:
    """Return all accounts, ordered by login."""
    return [_read_account(row) for row in connection.execute(sa.select(accounts).order_by(accounts.c.login))]


def verify_password(stored: StoredAccount | None, password: str) -> bool:
    """Return whether a password is right. A missing account takes as long as a wrong password."""
    password_hash = stored.password_hash if stored else _random_hash()
    try:
        return _HASHER.verify(password_hash, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


def rehash_password(catalog: Catalog, stored: StoredAccount, password: str) -> StoredAccount:
    """Store a new hash of the right password if the stored hash has older parameters than the current ones.

    Returns: the account with its current hash.
    """
    if not _HASHER.check_needs_rehash(stored.password_hash):
        return stored
    rehashed = replace(stored, password_hash=_HASHER.hash(password))
    with catalog.begin() as connection:
        change = sa.update(accounts).where(_is_unchanged(stored)).values(password_hash=rehashed.password_hash)
        return rehashed if connection.execute(change).rowcount else stored


def is_unchanged(connection: sa.Connection, stored: StoredAccount) -> bool:
    """Return whether an account still has its password and is enabled. If so, it keeps both in this transaction."""
    query = sa.select(accounts.c.id).where(_is_unchanged(stored), accounts.c.disabled_at.is_(None))
    return connection.execute(query.with_for_update(read=True)).scalar_one_or_none() is not None


def _is_unchanged(stored: StoredAccount) -> sa.ColumnElement[bool]:
    return (accounts.c.id == stored.account.id) & (accounts.c.password_hash == stored.password_hash)


def disable_account(connection: sa.Connection, login: str) -> None:
    """Disable an account, and revoke its tokens.

    Raises: UnknownAccountError; LastAdminError, it is the last enabled admin.
    """
    demand_other_admin(connection, demand_account(connection, login))
    _change(connection, login, disabled_at=sa.func.clock_timestamp())


def reset_account(catalog: Catalog, login: str, password: str) -> None:
    """Set a new password, revoke the account's tokens, and enable the account if it was disabled.

    Raises: UnknownAccountError; AccountError, the password is too short.
    """
    password_hash = hash_password(password)
    with catalog.begin() as connection:
        set_password(connection, login, password_hash)


def set_password(connection: sa.Connection, login: str, password_hash: str) -> None:
    """Give an account the password with this hash, as `reset_account` does.

    Raises: UnknownAccountError.
    """
    _change(connection, login, password_hash=password_hash, disabled_at=None)


def change_password(catalog: Catalog, stored: StoredAccount, password: str) -> StoredAccount | None:
    """Set a new password for an account whose owner gave the right one, and revoke its tokens.

    Returns: the changed account; None if it has got another password since it was read, was disabled or erased.
    Raises: AccountError, the password is too short.
    """
    password_hash = hash_password(password)
    with catalog.begin() as connection:
        if not is_unchanged(connection, stored):
            return None
        _change(connection, stored.account.login, password_hash=password_hash)
    return replace(stored, password_hash=password_hash)


def change_role(connection: sa.Connection, login: str, role: str) -> Account:
    """Give an account another role, which its requests have at once. Return the account as it was before.

    Raises: UnknownAccountError; AccountError, there is no such role; LastAdminError, the last enabled admin would get
        another role.
    """
    _read_role(role)
    account = demand_account(connection, login)
    if role != "admin":
        demand_other_admin(connection, account)
    connection.execute(sa.update(accounts).where(accounts.c.id == account.id).values(role=role))
    return account


def erase_account(connection: sa.Connection, account: Account) -> None:
    """Delete an account and its tokens. Its predictions and feedback stay without a link to the account.

    The names of unknown classes and the reasons that it typed go too.

    Raises: LastAdminError, it is the last enabled admin; UnknownAccountError, it was erased already.
    """
    demand_other_admin(connection, account)
    typed = (feedback.c.account_id == account.id) & feedback.c.proposed_name.is_not(None)
    connection.execute(sa.update(feedback).where(typed).values(proposed_name=None))
    reasoned = (review_decisions.c.account_id == account.id) & (review_decisions.c.reason != "")
    connection.execute(sa.update(review_decisions).where(reasoned).values(reason=""))
    if not connection.execute(sa.delete(accounts).where(accounts.c.id == account.id)).rowcount:
        raise _unknown(account.login)


def demand_other_admin(connection: sa.Connection, account: Account) -> None:
    """Demand an enabled admin besides this account, unless it is none itself.

    Raises: LastAdminError.
    """
    admins = sa.select(accounts.c.id).where(accounts.c.role == "admin", accounts.c.disabled_at.is_(None))
    # The row locks make two admins who leave at the same time wait for each other.
    ids = connection.execute(admins.order_by(accounts.c.id).with_for_update()).scalars().all()
    if list(ids) == [account.id]:
        raise LastAdminError(f"{account.login!r} is the last admin. Create another admin first.")


def put_demo_accounts(catalog: Catalog) -> dict[str, str]:
    """Create alice (user), bob (admin) and clementine (expert) if they are missing, and set new random passwords.

    Returns: login -> password, to show once.
    """
    roles: dict[str, Role] = {"alice": "user", "bob": "admin", "clementine": "expert"}
    passwords = {login: secrets.token_urlsafe(12) for login in roles}
    for login, role in roles.items():
        with catalog.begin() as connection:
            exists = find_account(connection, login) is not None
        if exists:
            reset_account(catalog, login, passwords[login])
        else:
            add_account(catalog, login, role, passwords[login])
    return passwords


def _read_account(row: sa.Row[tuple[object, ...]]) -> StoredAccount:
    account = Account(row.id, row.login, row.role)
    return StoredAccount(account, row.password_hash, row.created_at, row.disabled_at is not None)


def hash_password(password: str) -> str:
    """Return the hash of a new password. It takes a while: call it outside of a transaction.

    Raises: AccountError, the password is too short.
    """
    if len(password) < PASSWORD_MIN_LENGTH:
        raise AccountError(f"Password: expected at least {PASSWORD_MIN_LENGTH} characters, got {len(password)}.")
    return _HASHER.hash(password)


def _demand_login(login: str) -> None:
    if not _LOGIN.fullmatch(login):
        raise AccountError(
            "Login: expected 1 to 64 lower-case letters, digits or . _ @ -, "
            f"starting with a letter or digit, got {login!r}."
        )


def _random_hash() -> str:
    """Return a hash that no password matches; verifying it takes as long as verifying a real one."""
    salt, digest = (
        b64encode(secrets.token_bytes(n)).rstrip(b"=").decode() for n in (_HASHER.salt_len, _HASHER.hash_len)
    )
    return f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}${salt}${digest}"


def _change(connection: sa.Connection, login: str, **values: object) -> None:
    account_id = connection.execute(
        sa.update(accounts).where(accounts.c.login == login).values(**values).returning(accounts.c.id)
    ).scalar_one_or_none()
    if account_id is None:
        raise _unknown(login)
    revoke_tokens(connection, account_id)


def _unknown(login: str) -> UnknownAccountError:
    return UnknownAccountError(f"Login: expected an existing account, got {login!r}. `mycoflow user list` names them.")


def _read_role(role: str) -> Role:
    for known in ROLES:
        if known == role:
            return known
    raise AccountError(f"Role: expected one of {', '.join(ROLES)}, got {role!r}.")
