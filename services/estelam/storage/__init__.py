"""Data store of a service on SQLite or PostgreSQL: transactions, migrations, coverage."""
