"""Load data files into the store: streamed, every row checked, each file loaded whole or not at all."""
