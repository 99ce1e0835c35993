"""Replace `account:<id>` by logins for readers. Stored texts hold only ids, so erasing an account anonymises them."""

import re

import sqlalchemy as sa

from ml.catalog.tables import accounts

_ACTOR = re.compile(r"\baccount:([0-9]{1,18})\b")
_FORMER = "a former account"
_UNNAMED = "an account"


def name_accounts(connection: sa.Connection, text: str) -> str:
    """Return a text with logins in place of `account:<id>`, for display only: never store it.

    Database roles that may not read accounts, such as Grafana's, get `an account` in place of the logins.
    """
    ids = find_mentioned(text)
    if not ids:
        return text
    if not connection.execute(sa.select(sa.func.has_schema_privilege("users", "usage"))).scalar_one():
        return _ACTOR.sub(_UNNAMED, text)
    logins = find_logins(connection, ids)
    return _ACTOR.sub(lambda found: logins.get(int(found[1]), _FORMER), text)


def find_mentioned(text: str) -> set[int]:
    """Return the ids of the accounts that a text names."""
    return {int(found) for found in _ACTOR.findall(text)}


def find_logins(connection: sa.Connection, ids: set[int]) -> dict[int, str]:
    """Return the logins of these accounts, by id, without erased accounts."""
    query = sa.select(accounts.c.id, accounts.c.login).where(accounts.c.id.in_(ids))
    return dict(connection.execute(query).tuples().all())
