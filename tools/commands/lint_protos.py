"""Lint the contracts with buf, offline, on an image made by protoc; only our own files are linted."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.commands.generate_protos import BIN, generate

CONFIG = {"version": "v1", "lint": {"use": ["STANDARD", "COMMENTS"], "ignore": ["buf", "google"]}}


def lint() -> str:
    """The findings of buf; empty if there are none."""
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        generate(Path(scratch), image=image)
        command = [str(BIN / "buf"), "lint", str(image), "--config", json.dumps(CONFIG)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(lint() or None)
