"""Bearer tokens. Only their SHA-256 is stored: who reads the database cannot use them."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import sqlalchemy as sa

from ml.catalog.tables import tokens

_BYTES = 32


@dataclass(frozen=True)
class IssuedToken:
    """A token as it is told once, to who logged in."""

    token: str
    expires_at: datetime


def issue_token(connection: sa.Connection, account_id: int, lifetime: timedelta) -> IssuedToken:
    """Give an account a token, and forget those of its tokens that are of no use any more."""
    now = sa.func.clock_timestamp()
    is_useless = (tokens.c.expires_at <= now) | tokens.c.revoked_at.is_not(None)
    connection.execute(sa.delete(tokens).where(tokens.c.account_id == account_id, is_useless))
    token = secrets.token_urlsafe(_BYTES)
    expires_at = connection.execute(
        sa.insert(tokens)
        .values(account_id=account_id, token_sha256=token_digest(token), expires_at=now + lifetime)
        .returning(tokens.c.expires_at)
    ).scalar_one()
    return IssuedToken(token, expires_at)


def is_good_token() -> sa.ColumnElement[bool]:
    """The condition on users.tokens that picks the token of `token_sha256`, if it is neither expired nor revoked."""
    is_good = (tokens.c.expires_at > sa.func.clock_timestamp()) & tokens.c.revoked_at.is_(None)
    return is_good & (tokens.c.token_sha256 == sa.bindparam("token_sha256"))


def revoke_token(connection: sa.Connection, token: str) -> None:
    """Make a token worthless."""
    _revoke(connection, tokens.c.token_sha256 == token_digest(token))


def revoke_tokens(connection: sa.Connection, account_id: int) -> None:
    """Make all tokens of an account worthless."""
    _revoke(connection, tokens.c.account_id == account_id)


def _revoke(connection: sa.Connection, which: sa.ColumnElement[bool]) -> None:
    is_good = tokens.c.revoked_at.is_(None)
    connection.execute(sa.update(tokens).where(which, is_good).values(revoked_at=sa.func.clock_timestamp()))


def token_digest(token: str) -> str:
    """What is kept of a token."""
    return sha256(token.encode()).hexdigest()
