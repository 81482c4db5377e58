"""`make conformance`: run the conformance kit against our own services, on its fixtures and in every state it needs."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from rich.console import Console

from conformance import fixtures
from conformance.case import Instance
from conformance.profile import Profile
from development.process_limits import START_SECONDS, ProcessError
from development.processes import COMMAND, free_ports
from development.sandbox import load_file
from estelam.client.channel import ClientIdentity, channel
from estelam.core.keys import new_keyring_line
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.storage.migrate import migrate
from judiciary import feeds as judiciary_load
from judiciary.settings import JudiciarySettings
from promissory import feeds as promissory_load
from promissory.settings import PromissorySettings
from sataad_adapter.settings import SetadSettings
from tools.env import postgres
from tools.env.conformance_target import DOWN, ConformanceTarget, write_access

Addresses = Mapping[Instance, str]

REPORTS = Path(".estelam") / "conformance"
STORING = (*(i for i in Instance if i.service == "promissory"), *(i for i in Instance if i.service == "judiciary"))
NOBODY = "127.0.0.1:1"
"""An address on which nothing listens."""


def ministry_address(folder: Path) -> str:
    """Return where the kit listens as the ministry of `setad-deceived`, always the same for one *folder*."""
    chosen = folder / "ministry-address"
    if not chosen.exists():
        chosen.write_text(f"127.0.0.1:{free_ports('ministry')['ministry']}", "ascii")
    return chosen.read_text("ascii")


@contextmanager
def our_services(folder: Path, stores: Mapping[str, str] | None = None, *, http: bool = False) -> Iterator[Addresses]:
    """Write the fixtures into *folder* and run every instance of our services on them, controlled by its files.

    *stores* are URLs of empty stores by instance name; an instance without one uses SQLite in the folder. With *http*
    the addresses are those of the JSON APIs.
    """
    folder = folder.resolve()
    fixtures.write(folder)
    ours = folder / "ours"
    ours.mkdir()
    apis = {member: f"127.0.0.1:{port}" for member, port in free_ports(*Instance).items()} if http else {}
    with ExitStack() as stack:
        targets = [
            stack.enter_context(ConformanceTarget(folder, _prepared(folder, service, stores or {}, apis)))
            for service in ("promissory", "judiciary")
        ]
        addresses = {member: address for target in targets for member, address in target.addresses().items()}
        targets.append(
            stack.enter_context(ConformanceTarget(folder, _adapters(folder, addresses[Instance.PROMISSORY], apis)))
        )
        addresses |= targets[-1].addresses()
        for member, address in addresses.items():
            _await_health(folder / "pki", member, address)
        yield {member: apis.get(member, address) for member, address in addresses.items()}
        for target in targets:
            target.terminate()


def _prepared(
    folder: Path, service: str, stores: Mapping[str, str], apis: Mapping[str, str]
) -> dict[Instance, ServingSettings]:
    """The settings of every instance of a service with a store, migrated and, for the main instance, loaded."""
    members: dict[Instance, ServingSettings] = {}
    for member in (instance for instance in STORING if instance.service == service):
        settings = _storing(folder, member, stores.get(member), apis)
        migrate(settings.store, settings.MIGRATIONS)
        members[member] = settings
        if member == service:
            _load(folder, settings)
    return members


def _storing(folder: Path, member: Instance, store: str | None, apis: Mapping[str, str]) -> StoreSettings:
    kind = PromissorySettings if member.service == "promissory" else JudiciarySettings
    pki, keyring = folder / "pki", folder / "ours" / f"{member}.keys"
    keyring.touch(mode=0o600)
    keyring.write_text(new_keyring_line("k1"), "ascii")
    return kind(
        **_serving(folder, member, apis),
        store=store or f"sqlite:///{folder / 'ours' / member}",
        signing_key=pki / f"{member.service}-receipts.key",
        signing_certificates=(pki / f"{member.service}-receipts.crt",),
        hmac_keyring=keyring,
    )


def _serving(folder: Path, member: Instance, apis: Mapping[str, str]) -> dict[str, Any]:
    table = folder / "ours" / f"{member.service}-access.toml"
    write_access(folder, table)
    return {
        "listen": "127.0.0.1:0",
        "api_listen": apis.get(member, ""),
        "certificate": folder / "pki" / f"{member.service}-server.crt",
        "private_key": folder / "pki" / f"{member.service}-server.key",
        "ca_certificates": folder / "pki" / "ca.crt",
        "access": table,
        "shutdown_delay_seconds": 0.0,
        "drain_seconds": 1.0,
    }


def _load(folder: Path, settings: StoreSettings) -> None:
    data, manifest = folder / "data", json.loads((folder / "manifest.json").read_text("utf-8"))
    cut_at = datetime.fromisoformat(manifest["as_of"])
    if isinstance(settings, JudiciarySettings):
        since = date.fromisoformat(manifest["since"])
        load_file(
            settings,
            judiciary_load.CASES,
            data / "cases.csv",
            cut_at,
            whole=True,
            complete_since=since,
            tracking_since=since,
        )
    else:
        load_file(settings, promissory_load.MEMBERS, data / "agencies.csv")
        load_file(settings, promissory_load.NOTES, data / "notes.csv", cut_at, whole=True)


def _adapters(folder: Path, ministry: str, apis: Mapping[str, str]) -> dict[Instance, ServingSettings]:
    pki = folder / "pki"

    def adapter(member: Instance, *, provider: str = ministry, signer: str = "promissory") -> SetadSettings:
        return SetadSettings(
            **_serving(folder, member, apis),
            provider=provider,
            provider_certificates=(pki / f"{signer}-receipts.crt",),
            client_certificate=pki / "setad.crt",
            client_key=pki / "setad.key",
        )

    return {
        Instance.SETAD: adapter(Instance.SETAD),
        Instance.SETAD_DOWN: adapter(Instance.SETAD_DOWN, provider=NOBODY),
        Instance.SETAD_UNPROVEN: adapter(Instance.SETAD_UNPROVEN, signer="unproven"),
        Instance.SETAD_DECEIVED: adapter(Instance.SETAD_DECEIVED, provider=ministry_address(folder), signer="ministry"),
    }


def _await_health(pki: Path, member: Instance, address: str) -> None:
    """Wait until an instance's health is what the kit expects of it.

    Raises:
        ProcessError: it takes too long.
    """
    down = (*DOWN, Instance.SETAD_DOWN, Instance.SETAD_DECEIVED)
    wanted = HealthCheckResponse.NOT_SERVING if member in down else HealthCheckResponse.SERVING
    deadline = time.monotonic() + START_SECONDS
    with channel(address, ClientIdentity.named(pki, "setad")) as opened:
        stub = HealthStub(opened)  # type: ignore[no-untyped-call]
        while stub.Check(HealthCheckRequest(), timeout=START_SECONDS, wait_for_ready=True).status != wanted:
            if time.monotonic() > deadline:
                raise ProcessError(f"{member} does not reach the expected health status")
            time.sleep(0.05)


@contextmanager
def on_postgresql() -> Iterator[Mapping[str, str]]:
    """Empty stores for every instance on a temporary PostgreSQL server."""
    with postgres.cluster() as cluster:
        yield {member: cluster.url(cluster.database()) for member in STORING}


def command(folder: Path, addresses: Addresses, reports: Path) -> list[str | Path]:
    """The kit's command line for the services in *folder*, with all reports."""
    main = (Instance.PROMISSORY, Instance.JUDICIARY, Instance.SETAD)
    places = [f"--{member}={addresses[member]}" for member in main]
    places += [f"--instance={member}={address}" for member, address in addresses.items() if member not in main]
    files = [f"--{kind}={reports / name}" for kind, name in _FILES.items()]
    return [
        *(*COMMAND, "conformance", "run"),
        *(*places, *files, "--force", f"--pki={folder / 'pki'}", f"--steering={folder / 'steering'}"),
        f"--ministry={ministry_address(folder)}",
    ]


_FILES = {"html": "report.html", "report-json": "report.json", "junit": "report.xml"}


def main() -> None:
    """Run the kit against our own services; exit as the kit's command does."""
    parser = argparse.ArgumentParser(prog="make conformance", description=main.__doc__)
    parser.add_argument("--postgresql", action="store_true", help="stores on a real PostgreSQL instead of SQLite")
    parser.add_argument("--http", action="store_true", help="test the JSON APIs")
    parser.add_argument("--profile", default="full", choices=list(Profile))
    parser.add_argument("--only", action="append", default=[], metavar="CLAUSE|CASE")
    chosen = parser.parse_args()
    REPORTS.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="estelam-conformance-")))
        stores = stack.enter_context(on_postgresql()) if chosen.postgresql else None
        addresses = stack.enter_context(our_services(folder, stores, http=chosen.http))
        words = [
            f"--profile={chosen.profile}",
            *(["--http"] if chosen.http else []),
            *(f"--only={only}" for only in chosen.only),
        ]
        arguments = [*command(folder, addresses, REPORTS), *words]
        status = subprocess.run(arguments, stdin=subprocess.DEVNULL, check=False).returncode
    Console(highlight=False, soft_wrap=True).print(f"report: {REPORTS / _FILES['html']}")
    sys.exit(status)


if __name__ == "__main__":
    main()
