-- A role for serving alone: it reads facts, appends to the ledger, and can't change or take away what stands there. Run in
-- each database after `estelam migrate`, as the owner, with :serving the role: psql -v serving=estelam_serving -f serving.sql
GRANT USAGE ON SCHEMA facts, ledger TO :"serving";
GRANT SELECT ON ALL TABLES IN SCHEMA facts, ledger TO :"serving";
GRANT INSERT ON ledger.entry, ledger.block TO :"serving";
-- Each batch takes its turn to write by locking this table, and needs a right to that; it has no right to its rows.
GRANT MAINTAIN ON ledger.alembic_version TO :"serving";
ALTER DEFAULT PRIVILEGES IN SCHEMA facts GRANT SELECT ON TABLES TO :"serving";
