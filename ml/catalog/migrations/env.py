"""Alembic's entry point. It runs the migrations on the connection that ml.catalog.database passes."""

from alembic import context

from ml.catalog.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_schemas=True,
)
context.run_migrations()
