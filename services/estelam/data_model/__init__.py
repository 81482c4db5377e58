"""The data reference model (resolution 5): name, definition, base registries and sensitivity of every contract field.

The package holds no definitions of its own. Persian names and definitions, registries and sensitivity are options in
the contracts; English definitions are the contracts' comments.
"""
