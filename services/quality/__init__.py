"""The quality of the exchange, watched and reported: observations, outages, rules and the monthly report (R4)."""
