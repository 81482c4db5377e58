"""`estelam dev`: start all services on loopback with the sample data and monitor them until Ctrl-C."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console

from development import sandbox as suite
from development.cli import PORTS, option
from development.files import CATALOGUE, DOCS
from development.process_limits import ProcessError
from development.processes import (
    QUALITY,
    SERVICES,
    ServiceProcess,
    free_ports,
    spawn_command,
    spawn_sandbox_service,
)
from development.sandbox import Sandbox
from development.sandbox_numbers import Alternation
from estelam.core import settings
from estelam.core.exceptions import UserFacingError
from estelam.core.settings_file import CONFIG, DEFAULT_CONFIG, PREFIX
from judiciary.settings import JudiciarySettings
from promissory.settings import PromissorySettings
from quality.settings import QualitySettings
from sataad_adapter.settings import SetadSettings

DIGEST = ".sha256"
"""Suffix of the file that holds the SHA-256 of the settings file as this command wrote it."""
POLL_SECONDS = 0.2

# A note that is genuine and live, one that is settled, and what a buyer in Setad sees.
EXAMPLES = {
    "YES": "promissory check --serial 1404000000000017 --obligor 9990000018 --beneficiary 99000554330 "
    "--amount 2500000000",
    "NO": "promissory check --serial 1404000000000025 --obligor 9990000026 --beneficiary 99000554330 "
    "--amount 900000000",
    "YES, with the parties": "setad verify --serial 1404000000000033 --obligor 99000158381 --beneficiary 9990000042 "
    "--amount 12000000000 --agency SETAD-0001",
}

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True, style="red")

Listens = dict[str, tuple[str, int]]
"""Host and port of each listener, by its name in PORTS."""


def dev(
    *,
    folder: Path,
    promissory: int | None,
    judiciary: int | None,
    setad: int | None,
    page: int | None,
    api: int | None,
    promissory_api: int | None,
    judiciary_api: int | None,
    dashboard: int | None,
    sandbox: bool,
) -> None:
    """Start all services on loopback with the sample data in *folder* and monitor them until Ctrl-C.

    With *sandbox* they answer the sandbox's numbers as the list says.
    """
    chosen = {"promissory": promissory, "judiciary": judiciary, "setad": setad, "page": page, "api": api}
    chosen |= {"promissory_api": promissory_api, "judiciary_api": judiciary_api, "dashboard": dashboard}
    files = Sandbox(folder.resolve())
    given = {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and name != CONFIG}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with _only_run_in(files):
            listens = _prepare(files, {name: port for name, port in chosen.items() if port}, given, has_mark=sandbox)
            addresses = {name: ":".join(map(str, listens[name])) for name in SERVICES}
            launcher = spawn_sandbox_service if sandbox else spawn_command
            services = [
                ServiceProcess(name, files, listen=addresses[name], environ=given, launcher=launcher)
                for name in SERVICES
            ]
            services.append(ServiceProcess(QUALITY, files, environ=given))
            if sandbox:
                out.print(f"The sandbox's numbers: {_short(DOCS / 'sandbox.md')}")
            _serve(services, listens, files.config, Alternation(files).follow if sandbox else lambda: None)
    except UserFacingError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        out.print("stopped")
        raise typer.Exit(1) from None


@contextlib.contextmanager
def _only_run_in(sandbox: Sandbox) -> Iterator[None]:
    """Hold the folder's lock: a second run would rewrite the settings and the data under the first one."""
    sandbox.folder.mkdir(parents=True, exist_ok=True)
    with (sandbox.folder / "run.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _fail(f"estelam dev already runs in {_short(sandbox.folder)}: stop it with Ctrl-C first")
        yield


def _prepare(sandbox: Sandbox, chosen: Mapping[str, int], given: Mapping[str, str], *, has_mark: bool) -> Listens:
    """Create what is missing in *sandbox* and load the samples; return the listeners."""
    signing = sandbox.pki / "promissory-receipts.crt"
    if signing.exists() and suite.bears_mark(signing) is not has_mark:
        made = "without" if has_mark else "with"
        _fail(f"{_short(sandbox.folder)} was made {made} --sandbox: choose another folder, or remove it")
    edited = _is_edited(sandbox.config)
    if edited and chosen:
        _fail(f"{_short(sandbox.config)} was edited, so it sets the ports: change them there, or remove the file")
    if edited:
        out.print(f"Using {_short(sandbox.config)} unchanged, because it was edited")
        listens = _configured(sandbox, given)
        ports = {}
    else:
        listens = {name: ("127.0.0.1", chosen.get(name, port)) for name, port in PORTS.items()}
        listens |= {name: _from_variable(name, given) for name in SERVICES if name not in chosen}
        ports = {name: port for name, (_host, port) in listens.items()}
        ports |= free_ports(*(f"{name}-metrics" for name in (*SERVICES, QUALITY)))
    _check_ports(listens, sandbox.config if edited else None)

    out.print(f"Preparing certificates, settings and stores in {_short(sandbox.folder)}")
    suite.create_sandbox(sandbox.folder, ports=ports, catalogue=CATALOGUE, keep_settings=edited, has_mark=has_mark)
    if not edited:
        _digest_file(sandbox.config).write_text(_digest(sandbox.config), "ascii")
    out.print("Loading the sample data")
    suite.load_samples(sandbox)
    suite.prepare_quality(sandbox)
    return listens


def _is_edited(config: Path) -> bool:
    """Whether *config* exists and is not what this command wrote."""
    if not config.exists():
        return False
    written = _digest_file(config)
    return not (written.exists() and written.read_text("ascii") == _digest(config))


def _digest_file(config: Path) -> Path:
    return config.with_name(config.name + DIGEST)


def _digest(config: Path) -> str:
    return hashlib.sha256(config.read_bytes()).hexdigest()


def _configured(sandbox: Sandbox, given: Mapping[str, str]) -> Listens:
    """The listeners that the settings file and the variables set; one that is off is left out."""
    environ = {**given, **sandbox.environ}
    promissory = settings.load_settings(PromissorySettings, environ=environ)
    judiciary = settings.load_settings(JudiciarySettings, environ=environ)
    setad = settings.load_settings(SetadSettings, environ=environ)
    texts = {
        "promissory": promissory.listen,
        "promissory_api": promissory.api_listen,
        "judiciary": judiciary.listen,
        "judiciary_api": judiciary.api_listen,
        "setad": setad.listen,
        "page": setad.page_listen,
        "api": setad.api_listen,
        "dashboard": settings.load_settings(QualitySettings, environ=environ).listen,
    }
    return {name: _parsed(text, f"the address of {name}") for name, text in texts.items() if text}


def _from_variable(name: str, given: Mapping[str, str]) -> tuple[str, int]:
    """Host and port of a service from its ESTELAM_..._LISTEN variable, or else the default."""
    variable = f"{PREFIX}{name.upper()}_LISTEN"
    return _parsed(given.get(variable, f"127.0.0.1:{PORTS[name]}"), variable)


def _parsed(text: str, origin: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 65536):
        _fail(f"{origin} must be HOST:PORT, not {text}")
    return host, int(port)


def _check_ports(listens: Listens, edited: Path | None) -> None:
    """Exit 1 before anything is changed where a port is in use: the services may be running already."""
    names: dict[int, str] = {}
    for name, (host, port) in listens.items():
        other = port + 1000 if port < 64_000 else port - 1000
        change = f"change it in {_short(edited)}" if edited else f"choose another with {option(name)} {other}"
        if port and names.setdefault(port, name) != name:
            _fail(f"{name} and {names[port]} can't share port {port}: {change}")
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host.strip("[]"), port), family=family).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                _fail(f"{name} can't listen on {host}:{port}: {str(error.strerror).partition(' (while')[0]}; {change}")
            _fail(f"port {port} of {name} is in use: stop the program that uses it (another estelam dev?), or {change}")


def _serve(services: Sequence[ServiceProcess], listens: Listens, config: Path, follow: Callable[[], None]) -> NoReturn:
    status = 0
    try:
        *called, quality = services
        follow()
        out.print(f"Starting {', '.join(service.name for service in services)}")
        for service in called:
            service.launch()
        for service in called:
            service.wait()
        quality.start()  # last, so that it does not record a service that is starting as missing
        _print_addresses(services, listens, config)
        _monitor(services, follow)
    except KeyboardInterrupt:
        out.print("Stopping")
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


def _print_addresses(services: Sequence[ServiceProcess], listens: Listens, config: Path) -> None:
    for service in services:
        # The quality process without a dashboard listens nowhere.
        out.print(f"[bold]{service.name:12}[/]{service.address if service.port else '':20}{_short(service.log)}")
    out.print()
    if "page" in listens:
        out.print(f"The officer's page:  [bold]http://localhost:{listens['page'][1]}/[/]")
    paths = {"promissory_api": "notes:check", "judiciary_api": "cases:checkByNationalId", "api": "notes:verify"}
    for title, (name, path) in zip(["JSON over mTLS:", "", ""], paths.items(), strict=True):
        if name in listens:
            out.print(f"{title:20} https://localhost:{listens[name][1]}/v1/{path}")
    if "dashboard" in listens:
        out.print(
            f"The dashboard:       [bold]http://localhost:{listens['dashboard'][1]}/[/]    (probes within a minute)"
        )
    out.print("\nIn a second shell:")
    estelam = _command(config)
    for answer, command in EXAMPLES.items():
        out.print(f"\n  [dim]# {answer}[/]\n  {estelam} {command}")
    out.print(f"\nDocumentation: {_short(DOCS / 'README.md')}")
    out.print("\nCtrl-C stops all services.")


def _command(config: Path) -> str:
    """The command line of a second shell that uses the settings file *config*."""
    script = Path(sys.argv[0])
    words = [str(_short(script.absolute())) if script.name == "estelam" else "estelam"]
    if config != DEFAULT_CONFIG.resolve():
        words += ["--config", str(_short(config))]
    return shlex.join(words)


def _monitor(services: Sequence[ServiceProcess], follow: Callable[[], None]) -> NoReturn:
    while True:
        for service in services:
            if service.exit_status is not None:
                raise ProcessError(f"{service.name} ended with status {service.exit_status}; see {_short(service.log)}")
        follow()
        time.sleep(POLL_SECONDS)


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _fail(message: str) -> NoReturn:
    err.print(message, markup=False)
    sys.exit(1)
