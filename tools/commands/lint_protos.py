"""Lint the contracts with buf, offline, as `make protos` compiled them; only our own files are linted."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from estelam.data_model import contract_files
from tools.commands.generate_protos import BIN

CONFIG = {"version": "v1", "lint": {"use": ["STANDARD", "COMMENTS"], "ignore": ["buf", "google"]}}


def lint() -> str:
    """The findings of buf; empty if there are none."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        image.write_bytes(contract_files.descriptor_set().SerializeToString())
        command = [str(BIN / "buf"), "lint", str(image), "--config", json.dumps(CONFIG)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(lint() or None)
