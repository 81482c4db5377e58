"""Development commands behind the Makefile's targets."""
