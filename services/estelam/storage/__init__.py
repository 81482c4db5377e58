"""The data store of one service on SQLite or PostgreSQL: transactions, migrations, coverage."""
