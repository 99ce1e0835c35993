"""Names for those who read: what is kept says `account:<id>`, so that erasing an account makes its traces anonymous."""

import re

import sqlalchemy as sa

from ml.catalog.tables import accounts

_ACTOR = re.compile(r"\baccount:([0-9]{1,18})\b")
_FORMER = "a former account"
_UNNAMED = "an account"


def name_accounts(connection: sa.Connection, text: str) -> str:
    """Return a text with logins in place of `account:<id>`. Keep what is stored as it is: this is for a reader.

    A role that may not read accounts, as Grafana's and Airflow's, learns no name.
    """
    ids = find_mentioned(text)
    if not ids:
        return text
    if not connection.execute(sa.select(sa.func.has_schema_privilege("users", "usage"))).scalar_one():
        return _ACTOR.sub(_UNNAMED, text)
    logins = find_logins(connection, ids)
    return _ACTOR.sub(lambda found: logins.get(int(found[1]), _FORMER), text)


def find_mentioned(text: str) -> set[int]:
    """Return the ids of the accounts that a text speaks of."""
    return {int(found) for found in _ACTOR.findall(text)}


def find_logins(connection: sa.Connection, ids: set[int]) -> dict[int, str]:
    """Return the logins of these accounts, by id. Erased ones are left out."""
    query = sa.select(accounts.c.id, accounts.c.login).where(accounts.c.id.in_(ids))
    return dict(connection.execute(query).tuples().all())
