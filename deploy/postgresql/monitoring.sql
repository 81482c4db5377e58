-- A role for the quality process in a provider's database: it reads the ledger, which names no person, and the freshness of
-- the data, and nothing else. Run after `estelam migrate`, as the owner: psql -v monitoring=estelam_monitoring -f monitoring.sql
GRANT USAGE ON SCHEMA facts, ledger TO :"monitoring";
GRANT SELECT ON ledger.entry, ledger.checkpoint, facts.coverage TO :"monitoring";
