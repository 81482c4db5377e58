"""The plan of the house: imports flow one way, no room is too large, nothing foreign is named."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "services"
NEIGHBOURS = {"promissory", "judiciary", "sataad_adapter", "conformance", "quality"}
CONTRACTS = {path.parent.name for path in (ROOT / "protos" / "estelam").glob("*/v1")}
LIMIT_LINES = 600


def modules(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*.py") if not path.name.endswith(("_pb2.py", "_pb2_grpc.py")))


def imports(path: Path) -> set[str]:
    """Every dotted name that *path* imports, wherever it stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_the_house_knows_no_neighbour_and_no_contract_but_what_all_share() -> None:
    foreign = tuple(f"estelam.{area}.v1" for area in CONTRACTS - {"inquiry"})
    seen = {
        (path.name, name)
        for path in modules(SERVICES / "estelam")
        for name in imports(path)
        if name.partition(".")[0] in NEIGHBOURS or name.startswith(foreign)
    }

    assert seen == set()


@pytest.mark.parametrize("service", sorted(NEIGHBOURS))
def test_no_service_knows_another(service: str) -> None:
    others = NEIGHBOURS - {service}
    seen = {
        (path.name, name)
        for path in modules(SERVICES / service)
        for name in imports(path)
        if name.partition(".")[0] in others
    }

    assert seen == set()


@pytest.mark.parametrize("service", ["promissory", "judiciary"])
def test_a_service_knows_its_own_contract_alone(service: str) -> None:
    foreign = tuple(f"estelam.{area}.v1" for area in CONTRACTS - {"inquiry", service})
    seen = {
        (path.name, name) for path in modules(SERVICES / service) for name in imports(path) if name.startswith(foreign)
    }

    assert seen == set()


def test_the_offline_check_of_a_receipt_needs_no_store_clock_or_network() -> None:
    needed = {name.partition(".")[0] for name in imports(SERVICES / "estelam" / "receipts" / "receipt.py")}

    assert needed & {"sqlalchemy", "grpc", "time", "socket", "asyncio"} == set()


def test_no_module_of_the_house_bears_a_contracts_name() -> None:
    assert {path.stem for path in (SERVICES / "estelam").glob("*.py")} & CONTRACTS == set()


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    folders = ("services", "tests", "tools", "samples")
    lengths = {path: len(path.read_text("utf-8").splitlines()) for name in folders for path in modules(ROOT / name)}

    assert {path.name: lines for path, lines in lengths.items() if lines > LIMIT_LINES} == {}
