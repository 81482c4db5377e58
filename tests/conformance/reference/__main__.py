"""`python -m tests.conformance.reference DIR [INSTANCE...]`: serve on the fixtures in DIR until stopped."""

import asyncio
import sys
from pathlib import Path

from conformance.case import Instance

from .service import running


async def _serve(folder: Path, names: list[str]) -> None:
    async with running(folder, names or [instance.value for instance in Instance]) as addresses:
        for name, address in addresses.items():
            print(f"{name}={address}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2:]))
