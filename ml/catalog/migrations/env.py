"""Alembic's entry: runs the migrations on the connection that ml.catalog.database hands over."""

from alembic import context

from ml.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_schemas=True,
)
context.run_migrations()
