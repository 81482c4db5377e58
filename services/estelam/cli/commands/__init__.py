"""One module per command group that every installation has."""
