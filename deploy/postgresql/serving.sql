-- A role for serving: it reads facts and appends to the ledger, and can neither change nor delete entries. Run in
-- each database after `estelam migrate`, as the owner, with :serving the role: psql -v serving=estelam_serving -f serving.sql
GRANT USAGE ON SCHEMA facts, ledger TO :"serving";
GRANT SELECT ON ALL TABLES IN SCHEMA facts, ledger TO :"serving";
GRANT INSERT ON ledger.entry, ledger.checkpoint, ledger.node, ledger.key_use, ledger.fact_note, ledger.annulment TO :"serving";
-- Each batch locks this table to serialize writes, which needs a privilege; it has no privilege on its rows.
GRANT MAINTAIN ON ledger.alembic_version TO :"serving";
ALTER DEFAULT PRIVILEGES IN SCHEMA facts GRANT SELECT ON TABLES TO :"serving";
