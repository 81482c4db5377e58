"""The services on sockets: TLS, health, the contract's methods, and a refusal of any other."""

import asyncio
import contextlib
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server

from estelam.core.errors import Reason

from . import wire
from .access import Authorizer
from .cases import Cases
from .clock import Clock
from .data import Fixtures
from .inquiry import Method
from .ledger import Ledger
from .notes import Notes
from .pipeline import Pipeline
from .refusal import Refused, status
from .store import Store
from .verification import Ministry, Verification

UNREACHABLE = "127.0.0.1:1"
"""An address where nothing listens."""
WATCH_SECONDS = 1.0
"""Time between two looks at a status that is watched."""


class _Listener(Server):
    """grpclib's server, which also holds its connections, in order to close them."""

    def __init__(self, routes: "Routes") -> None:
        super().__init__([], codec=wire.Plain(), status_details_codec=wire.PlainDetails())
        self._mapping = routes
        self._connections: weakref.WeakSet[H2Protocol] = weakref.WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        connection = super()._protocol_factory()
        self._connections.add(connection)
        return connection

    async def shut_down(self) -> None:
        """Stop accepting calls and close the connections."""
        self.close()
        for connection in list(self._connections):
            if hasattr(connection, "processor") and not connection.connection.is_closing():
                connection.connection._transport.abort()  # close() would wait for the peer
                connection.processor.close("the server shuts down")
        await self.wait_closed()
        await asyncio.sleep(0)  # sockets are closed in the loop's next iteration


class Routes(dict[str, Handler]):
    """Handlers by path; the handler of any other path refuses."""

    def get(self, path: str, _default: object = None) -> Handler:
        """Return the handler of *path*."""
        return self[path] if path in self else _handler(_unknown_method)


async def _unknown_method(call: wire.Call) -> None:
    await wire.receive(call)
    await wire.refuse(call, status(Refused(Reason.METHOD_UNKNOWN)), [])


def _handler(
    handle: Callable[[wire.Call], Awaitable[None]], cardinality: Cardinality = Cardinality.UNARY_UNARY
) -> Handler:
    return Handler(handle, cardinality, bytes, bytes)


class Instance:
    """One instance of a service."""

    def __init__(
        self, name: str, methods: Collection[Method], pipeline: Pipeline, healthy: Callable[[], Awaitable[bool]]
    ):
        self.name = name
        self._healthy = healthy
        self._services = {"", *(method.name.partition("/")[0] for method in methods)}
        routes = {f"/{method.name}": _handler(partial(pipeline.handle, method)) for method in methods}
        routes["/grpc.health.v1.Health/Check"] = _handler(self._check_health)
        routes["/grpc.health.v1.Health/Watch"] = _handler(self._watch_health, Cardinality.UNARY_STREAM)
        self._server = _Listener(Routes(routes))

    async def start(self, pki: Path) -> str:
        """Listen on a free port and return the address."""
        service = self.name.partition("-")[0]
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        tls.load_cert_chain(pki / f"{service}-server.crt", pki / f"{service}-server.key")
        tls.load_verify_locations(pki / "ca.crt")
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.set_alpn_protocols(["h2"])
        await self._server.start("127.0.0.1", 0, ssl=tls)
        listening: Any = self._server._server
        return f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Shut down."""
        await self._server.shut_down()

    async def _check_health(self, call: wire.Call) -> None:
        try:
            request = HealthCheckRequest.FromString(await wire.receive(call) or b"")
        except DecodeError:
            raise GRPCError(Status.INVALID_ARGUMENT) from None
        status = await self._status(request.service)
        if status == HealthCheckResponse.SERVICE_UNKNOWN:
            raise GRPCError(Status.NOT_FOUND)
        await wire.reply(call, HealthCheckResponse(status=status).SerializeToString(), [])

    async def _watch_health(self, call: wire.Call) -> None:
        try:
            request = HealthCheckRequest.FromString(await wire.receive(call) or b"")
        except DecodeError:
            raise GRPCError(Status.INVALID_ARGUMENT) from None
        sent = None
        while True:
            if (status := await self._status(request.service)) != sent:
                await call.send_message(HealthCheckResponse(status=status).SerializeToString())
                sent = status
            await asyncio.sleep(WATCH_SECONDS)

    async def _status(self, service: str) -> HealthCheckResponse.ServingStatus:
        if service not in self._services:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return HealthCheckResponse.SERVING if await self._healthy() else HealthCheckResponse.NOT_SERVING


@contextlib.asynccontextmanager
async def running(
    folder: Path, names: Collection[str], ministry_address: str = UNREACHABLE, kits_ministry: str = UNREACHABLE
) -> AsyncIterator[Mapping[str, str]]:
    """Run the instances *names* on the fixtures in *folder*; yield their addresses.

    The adapter calls the instance `promissory` if it is among them, else the ministry at *ministry_address*, and its
    instance `setad-deceived` that of the kit at *kits_ministry*.
    """
    fixtures = Fixtures.read(folder)
    addresses: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        # The ministry's instances start first: the adapter needs their address.
        for name in sorted(names, key=lambda name: name.startswith("setad")):
            if name.startswith("setad"):
                address = addresses.get("promissory", ministry_address)
                instance, ministry = _setad(name, fixtures, folder, address, kits_ministry)
                stack.push_async_callback(ministry.close)
            else:
                instance = _recording(name, fixtures, folder)
            addresses[name] = await instance.start(folder / "pki")
            stack.push_async_callback(instance.stop)
        yield addresses


def _authorizer(fixtures: Fixtures, folder: Path, clock: Clock) -> Authorizer:
    return Authorizer(fixtures.grants, fixtures.denied, folder / "steering" / "denied", clock)


def _recording(name: str, fixtures: Fixtures, folder: Path) -> Instance:
    service, _, state = name.partition("-")
    clock = Clock(folder / "steering" / "offset")
    organization = x509.load_pem_x509_certificate((folder / "pki" / f"{service}-receipts.crt").read_bytes())
    (named,) = organization.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_IDENTIFIER)
    origin = f"estelam/{service}/{named.value!s}"
    ledger = Ledger(origin, folder / "pki" / f"{service}-receipts.key", clock, down=state == "down")
    store = Store.of(fixtures, folder / "steering" / "changes", loaded=state != "empty")
    questions = Notes(store, ledger, clock) if service == "promissory" else Cases(store, ledger, clock)

    async def healthy() -> bool:
        return state != "down"

    pipeline = Pipeline(_authorizer(fixtures, folder, clock), clock, ledger)
    return Instance(name, questions.methods(), pipeline, healthy)


def _setad(
    name: str, fixtures: Fixtures, folder: Path, ministry_address: str, kits_ministry: str
) -> tuple[Instance, Ministry]:
    clock = Clock(folder / "steering" / "offset")
    pki = folder / "pki"
    trusted = {"setad-unproven": "unproven", "setad-deceived": "ministry"}.get(name, "promissory")
    address = {"setad-down": UNREACHABLE, "setad-deceived": kits_ministry}.get(name, ministry_address)
    ministry = Ministry(address, pki, pki / f"{trusted}-receipts.crt")
    pipeline = Pipeline(_authorizer(fixtures, folder, clock), clock, None)
    return Instance(name, Verification(ministry).methods(), pipeline, ministry.serves), ministry
