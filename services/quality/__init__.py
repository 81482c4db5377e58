"""Service quality of the exchange: monitoring, evaluation, monthly report, planned outages and dashboard (R4)."""
