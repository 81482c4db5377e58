"""Alembic environment of every chain: runs it on the connection and schema that `estelam.storage.migrate` provides."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table_schema=context.config.attributes["schema"])
context.run_migrations()
