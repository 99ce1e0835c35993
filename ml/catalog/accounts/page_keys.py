"""The key that signs the forms of the web pages."""

import sqlalchemy as sa

from ml.catalog.tables import page_keys


def load_page_key(connection: sa.Connection) -> str:
    """Return the key. All processes of the service share it, so a form of one is accepted by the others."""
    key: str = connection.execute(sa.select(page_keys.c.key).order_by(page_keys.c.id.desc()).limit(1)).scalar_one()
    return key
