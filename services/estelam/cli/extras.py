"""Optional extras of the distribution: which one a failed import needs, and how to install it."""

MODULES = {"conformance": ("h2", "hyperframe"), "pdf": ("pypdf", "typst")}
"""The top-level modules of each extra that the services import."""


def lacking(error: ModuleNotFoundError) -> str | None:
    """Return the extra whose absence raised *error*; None if it was not raised by one."""
    module = (error.name or "").partition(".")[0]
    return next((extra for extra, modules in MODULES.items() if module in modules), None)


def missing(extra: str) -> str:
    """The text for a person who runs a command that needs *extra*."""
    return f"this command needs more packages: pip install 'estelam[{extra}]'"
