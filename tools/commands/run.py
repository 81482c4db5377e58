"""All services on loopback with the samples, watched, until Ctrl-C: what `make run` starts."""

import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from estelam.core.settings import CONFIG, DEFAULT_CONFIG, PREFIX
from tools.env import sandbox as suite
from tools.env.processes import COMMAND, QUALITY, SERVICES, ProcessError, ServiceProcess, free_ports

PORTS = {"promissory": 50051, "judiciary": 50052, "setad": 50053}
FACES = {"page": 8080, "api": 8443, "dashboard": 8081}
POLL_SECONDS = 0.2

# A genuine note that is live, one that is settled, and what a buyer sees.
TRY = {
    "YES": "promissory check --serial 1404000000000017 --obligor 9990000018 --beneficiary 99000554330 "
    "--amount 2500000000",
    "NO": "promissory check --serial 1404000000000025 --obligor 9990000026 --beneficiary 99000554330 "
    "--amount 900000000",
    "YES, with the parties": "setad verify --serial 1404000000000033 --obligor 99000158381 --beneficiary 9990000042 "
    "--amount 12000000000 --agency SETAD-0001",
}

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True, style="red")

Port = Annotated[int | None, typer.Option(min=1, max=65535, metavar="PORT")]


def main(
    promissory_port: Port = None,
    judiciary_port: Port = None,
    setad_port: Port = None,
    page_port: Port = None,
    api_port: Port = None,
    dashboard_port: Port = None,
) -> None:
    """Start promissory, judiciary, Setad's adapter with its page and JSON, and the watch; stay until Ctrl-C or SIGTERM.

    Ports: the options, then ESTELAM_PROMISSORY_LISTEN and its like (host:port), then 50051, 50052, 50053; for the
    adapter's faces the options, then 8080 and 8443, for the dashboard 8081.
    """
    options = {"promissory": promissory_port, "judiciary": judiciary_port, "setad": setad_port}
    listens = {name: _listen(name, port) for name, port in options.items()}
    faces = {"page": page_port, "api": api_port, "dashboard": dashboard_port}
    listens |= {name: ("127.0.0.1", str(port or FACES[name])) for name, port in faces.items()}
    _refuse_taken(listens)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    ports = {name: int(at[1]) for name, at in listens.items()} | free_ports(*(f"{name}-metrics" for name in SERVICES))
    sandbox = suite.create_sandbox(DEFAULT_CONFIG.parent, ports=ports, catalogue=suite.CATALOGUE)
    suite.load_samples(sandbox)
    suite.prepare_quality(sandbox)
    given = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and name != CONFIG}
    services = [ServiceProcess(name, sandbox, listen=":".join(listens[name]), environ=given) for name in SERVICES]
    services.append(ServiceProcess(QUALITY, sandbox, environ=given))
    _serve(services, listens)


def _listen(name: str, port: int | None) -> tuple[str, str]:
    """Host and port of one service."""
    variable = f"{PREFIX}{name.upper()}_LISTEN"
    given = f"127.0.0.1:{port}" if port else os.environ.get(variable, f"127.0.0.1:{PORTS[name]}")
    host, _, text = given.rpartition(":")
    if not (host and text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        _fail(f"{variable} must be host:port")
    return host, text


def _refuse_taken(listens: Mapping[str, tuple[str, str]]) -> None:
    """Look before anything is touched: whoever holds a port may be this same suite, running already."""
    for name, (host, port) in listens.items():
        try:
            socket.create_server((host, int(port))).close()
        except OSError as error:
            why = str(error.strerror).partition(" (while")[0]
            _fail(f"{name} can't have {host}:{port}: {why}. Free it, or choose another with --{name}-port.")
    if len(set(listens.values())) != len(listens):
        _fail("two of them can't share a port")


def _serve(services: Sequence[ServiceProcess], listens: Mapping[str, tuple[str, str]]) -> None:
    status = 0
    try:
        *asked, watch = services
        for service in asked:
            service.launch()
        for service in asked:
            service.wait()
        watch.start()  # last, so that no service is found missing which is only on its way
        _greet(services, page=listens["page"][1], api=listens["api"][1])
        _watch(services)
    except KeyboardInterrupt:
        out.print("stopping")
    except ProcessError as error:
        err.print(str(error), markup=False)
        status = 1
    finally:
        status = max(status, _stop(services))
    raise typer.Exit(status)


def _stop(services: Sequence[ServiceProcess]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    status = 0
    for service in reversed(services):
        try:
            service.stop()
        except ProcessError as error:
            err.print(str(error), markup=False)
            status = 1
    return status


def _greet(services: Sequence[ServiceProcess], *, page: str, api: str) -> None:
    for service in services:
        # Without a dashboard the quality process listens nowhere.
        out.print(f"[bold]{service.name:12}[/]{service.address if service.port else '':20}{_short(service.log)}")
    out.print(
        f"\nThe officer's page: [bold]http://localhost:{page}/[/]    JSON over mTLS: https://localhost:{api}/v1/notes:verify"
    )
    if dashboard := next((one.port for one in services if one.name == QUALITY), 0):
        out.print(f"The live dashboard: [bold]http://localhost:{dashboard}/[/]    (its first probes within a minute)")
    out.print("\nIn a second shell:")
    for told, command in TRY.items():
        out.print(f"\n  [dim]# {told}[/]\n  {_short(COMMAND)} {command}")
    out.print("\nCtrl-C stops them all.")


def _watch(services: Sequence[ServiceProcess]) -> NoReturn:
    while True:
        for service in services:
            if service.exit_status is not None:
                raise ProcessError(f"{service.name} ended with status {service.exit_status}; see {_short(service.log)}")
        time.sleep(POLL_SECONDS)


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _fail(message: str) -> NoReturn:
    err.print(message, markup=False)
    sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
