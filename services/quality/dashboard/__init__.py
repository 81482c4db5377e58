"""The live board: how the exchange stands now, what was promised and changed, for who runs it."""
