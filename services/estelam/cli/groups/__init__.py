"""Command groups of every installation: the declarations of their commands, which `cli.commands` implements."""
