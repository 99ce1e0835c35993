"""Bearer tokens. The database holds only their SHA-256, so that nobody can use a token that they read there."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import sqlalchemy as sa

from ml.catalog.tables import tokens

_BYTES = 32


@dataclass(frozen=True)
class IssuedToken:
    """A new token. It is shown only once, to the person who logs in."""

    token: str
    expires_at: datetime


def issue_token(connection: sa.Connection, account_id: int, lifetime: timedelta) -> IssuedToken:
    """Create a token for an account, and delete its expired and revoked tokens."""
    now = sa.func.clock_timestamp()
    is_invalid = (tokens.c.expires_at <= now) | tokens.c.revoked_at.is_not(None)
    connection.execute(sa.delete(tokens).where(tokens.c.account_id == account_id, is_invalid))
    token = secrets.token_urlsafe(_BYTES)
    expires_at = connection.execute(
        sa.insert(tokens)
        .values(account_id=account_id, token_sha256=token_digest(token), expires_at=now + lifetime)
        .returning(tokens.c.expires_at)
    ).scalar_one()
    return IssuedToken(token, expires_at)


def is_valid_token() -> sa.ColumnElement[bool]:
    """Return the SQL condition for the token with the parameter `token_sha256`, neither expired nor revoked."""
    is_valid = (tokens.c.expires_at > sa.func.clock_timestamp()) & tokens.c.revoked_at.is_(None)
    return is_valid & (tokens.c.token_sha256 == sa.bindparam("token_sha256"))


def revoke_token(connection: sa.Connection, token: str) -> None:
    """Revoke a token."""
    _revoke(connection, tokens.c.token_sha256 == token_digest(token))


def revoke_tokens(connection: sa.Connection, account_id: int) -> None:
    """Revoke all tokens of an account."""
    _revoke(connection, tokens.c.account_id == account_id)


def _revoke(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    is_active = tokens.c.revoked_at.is_(None)
    connection.execute(sa.update(tokens).where(which, is_active).values(revoked_at=sa.func.clock_timestamp()))


def token_digest(token: str) -> str:
    """Return the SHA-256 of a token, as it is stored."""
    return sha256(token.encode()).hexdigest()
