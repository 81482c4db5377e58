-- A role for recall: it reads facts and ledger, and stores that recall was run, and can change nothing. Run in each
-- database after `estelam migrate`, as the owner, with :recall the role: psql -v recall=estelam_recall -f recall.sql
GRANT USAGE ON SCHEMA facts, ledger TO :"recall";
GRANT SELECT ON ALL TABLES IN SCHEMA facts, ledger TO :"recall";
GRANT INSERT ON facts.recall_run TO :"recall";
