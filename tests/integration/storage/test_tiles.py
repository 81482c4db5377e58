"""Export as C2SP tlog-tiles, read back by a reader that is written from the specification and shares no code."""

import base64
import hashlib
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select, update

from development.sandbox import Sandbox
from estelam.ledger.tables import entry_table, node_table
from tests.conftest import both_engines_in_full
from tests.e2e.conftest import CommandLine
from tests.integration.storage.test_ledger import Writer


def tile(folder: Path, level: int, index: int, width: int) -> list[bytes]:
    """Return the hashes of a tile, by the rule of the specification for its path."""
    digits = f"{index:03}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    name = "/".join([*("x" + part for part in parts[:-1]), parts[-1]]) + (f".p/{width}" if width < 256 else "")
    content = (folder / "tile" / str(level) / name).read_bytes()
    assert 32 * width == len(content)
    return [content[i : i + 32] for i in range(0, len(content), 32)]


def tree_hash(hashes: list[bytes]) -> bytes:
    """Return the Merkle tree hash of leaves with these hashes (RFC 6962, section 2.1)."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_hash(hashes[:split]) + tree_hash(hashes[split:])).digest()


def read(folder: Path) -> tuple[int, bytes, list[bytes]]:
    """Return size and root by the checkpoint, and all leaf hashes, after a check of every tile of that size."""
    _, size_line, root, *_ = (folder / "checkpoint").read_text("utf-8").splitlines()
    size, level = int(size_line), 0
    above = size
    rows: list[list[bytes]] = []
    while above:
        rows.append(
            [each for n in range(-(-above // 256)) for each in tile(folder, level, n, min(256, above - 256 * n))]
        )
        above, level = above // 256, level + 1
    for lower, upper in pairwise(rows):
        assert upper == [tree_hash(lower[i : i + 256]) for i in range(0, len(lower) // 256 * 256, 256)]
    assert base64.b64decode(root) == tree_hash(rows[0])
    return size, base64.b64decode(root), rows[0]


@both_engines_in_full
def test_tiles(sandbox: Sandbox, tmp_path: Path) -> None:
    """Every size is exported completely, a second export adds what is new, and entries stay at home."""
    writer, folder, command = Writer(sandbox), tmp_path / "tiles", CommandLine(sandbox)
    written, sizes = 0, (1, 200, 255, 256, 257, 700)
    with closing(writer.store):
        for size in sizes:
            writer.write(*range(size - written))
            written = size
            assert 0 == command("ledger", "export-tiles", "promissory", str(folder)).code
            found = read(folder)
            with writer.store.transaction() as connection:
                leaves = connection.scalars(select(entry_table.c.leaf).order_by(entry_table.c["index"])).all()
            assert (size, [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]) == (found[0], found[2])
    again = command("ledger", "export-tiles", "promissory", str(folder), "--json").json

    assert (0, f"{sizes[-1]}:{found[1].hex()}") == (again["tiles"], again["head"])
    assert not list(folder.glob("tile/0/00[01].p"))
    assert {"checkpoint", "tile"} == {each.name for each in folder.iterdir()}
    assert {"0", "1"} == {each.name for each in (folder / "tile").iterdir()}


@pytest.mark.parametrize("table", ["entry", "node"])
def test_changed_ledger_is_not_exported(sandbox: Sandbox, tmp_path: Path, table: str) -> None:
    """A tile that does not lead to the signed root is not published, and the exported checkpoint stays."""
    writer, folder, command = Writer(sandbox), tmp_path / "tiles", CommandLine(sandbox)
    with closing(writer.store):
        writer.write(*range(300))
        command("ledger", "export-tiles", "promissory", str(folder))
        before = (folder / "checkpoint").read_bytes()
        writer.write(*range(500))
        with writer.store.transaction() as connection:
            if table == "entry":
                connection.execute(update(entry_table).where(entry_table.c["index"] == 400).values(leaf=b"other"))
            else:
                connection.execute(update(node_table).where(node_table.c["index"] == 1).values(hash=bytes(32)))
    result = command("ledger", "export-tiles", "promissory", str(folder))

    assert (1, True) == (result.code, result.err.startswith("INVALID: promissory: "))
    assert before == (folder / "checkpoint").read_bytes()


def test_rewritten_ledger_is_not_exported(sandbox: Sandbox, tmp_path: Path) -> None:
    """A ledger that was signed anew with the real key does not continue what was exported."""
    writer, folder, command = Writer(sandbox), tmp_path / "tiles", CommandLine(sandbox)
    with closing(writer.store):
        writer.write(*range(10))
        command("ledger", "export-tiles", "promissory", str(folder))
        with writer.store.transaction() as connection:
            connection.execute(update(entry_table).where(entry_table.c["index"] == 4).values(leaf=b"other"))
            writer.sign_anew(connection)
    result = command("ledger", "export-tiles", "promissory", str(folder))

    assert (1, True) == (result.code, "is no earlier state of this ledger" in result.err)


def test_other_folder_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    """A folder with other files, or with the tiles of another ledger, is left as it is."""
    writer, command = Writer(sandbox), CommandLine(sandbox)
    with closing(writer.store):
        writer.write(1)
    (tmp_path / "notes.txt").touch()
    full = command("ledger", "export-tiles", "promissory", str(tmp_path))
    empty = command("ledger", "export-tiles", "judiciary", str(tmp_path / "tiles"))
    command("ledger", "export-tiles", "promissory", str(tmp_path / "tiles"))
    (tmp_path / "tiles" / "checkpoint").write_text("damaged")
    damaged = command("ledger", "export-tiles", "promissory", str(tmp_path / "tiles"))

    assert [2, 2, 2] == [full.code, empty.code, damaged.code]
    assert "holds something else than tiles" in full.err
    assert "it is empty" in empty.err
    assert "not a checkpoint" in damaged.err or "damaged" in damaged.err
