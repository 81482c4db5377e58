"""The live dashboard: current status of the exchange, service levels and catalogue changes, for its operators."""
