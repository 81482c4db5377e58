"""Alembic's door: run the chain of one schema on the connection given by `estelam.storage.store`."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema=context.config.attributes["schema"])
context.run_migrations()
