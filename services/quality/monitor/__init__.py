"""The monitor: probes every service each minute and collects its metrics and ledger."""
