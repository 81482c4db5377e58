"""Where settings come from: the file, and the variables that override it."""

from pathlib import Path

PREFIX = "ESTELAM_"
CONFIG = PREFIX + "CONFIG"
"""The variable that names the settings file."""
DEFAULT_CONFIG = Path(".estelam/estelam.toml")
