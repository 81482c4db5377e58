"""The data reference model (R5): what every field of every contract is called, means, comes from, and may be shown in.

Nothing of it is written here: names, definitions in Persian, registries and sensitivity are options in the contracts,
the definitions in English are the contracts' comments.
"""
