"""`estelam init`: a folder with everything that one organisation needs to run one service."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from development.cli import PORTS, Service
from development.files import CATALOGUE, DEPLOY
from development.sandbox import JUDICIARY, MINISTRY, ORGANIZATIONS
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.cli import output
from estelam.core.keys import new_keyring_line
from estelam.core.settings import ServingSettings
from judiciary.settings import JudiciarySettings
from promissory.settings import PromissorySettings
from sataad_adapter.settings import SetadSettings

KINDS: Mapping[str, type[ServingSettings]] = {
    kind.SECTION: kind for kind in (PromissorySettings, JudiciarySettings, SetadSettings)
}
OWNERS = {"promissory": MINISTRY, "judiciary": JUDICIARY, "setad": ORGANIZATIONS["setad"]}
"""The invented organisation of each service, unless another is named."""
TRIAL = timedelta(days=90)
"""How long the certificates of the trial are valid."""
_SERVING = {
    "certificate": "pki/server.crt",
    "private_key": "pki/server.key",
    "ca_certificates": "pki/ca.crt",
    "access": "catalogue",
    "outages": "outages.toml",
}
_STORING = {
    "store": "sqlite:///data/store",
    "signing_key": "pki/receipts.key",
    "signing_certificates": ["pki/receipts.crt"],
    "hmac_keyring": "pki/subjects.keys",
}
_FORWARDING = {
    "provider": f"localhost:{PORTS['promissory']}",
    "provider_certificates": ["pki/provider-receipts.crt"],
    "client_certificate": "pki/client.crt",
    "client_key": "pki/client.key",
}
_ANY: TypeAdapter[Any] = TypeAdapter(Any)
_HEADING = """\
# Settings of the {service} service. Every key may also be set by a variable, as ESTELAM_{variable}_LISTEN. A line that
# begins with `#name =` shows a default. The keys and certificates in pki/ are of a development authority and end after
# {days} days: replace them by those of the exchange's authority before anybody relies on an answer.
"""


def init(folder: Path, *, service: Service, organization: str | None, as_json: bool) -> None:
    """Write settings, catalogue, keys, a systemd unit and a compose file for *service* into the new *folder*."""
    with output.user_errors(as_json=as_json):
        output.check_new_folder(folder, "DIR")
        kind = KINDS[service]
        for name in ("pki", "data"):
            (folder / name).mkdir(parents=True, mode=0o700)
        _issue(folder / "pki", service, organization or OWNERS[service])
        shutil.copytree(CATALOGUE, folder / "catalogue")
        (folder / "estelam.toml").write_text(_settings(kind), "utf-8")
        shutil.copy(DEPLOY / "systemd" / "estelam@.service", folder)
        (folder / "compose.yaml").write_text(_compose(kind), "utf-8")
    command = f"estelam --config {folder / 'estelam.toml'}"
    stored = [f"{command} migrate"] if service != "setad" else []
    steps = [f"{command} config check", *stored, f"{command} {service} serve"]
    output.print_record({"folder": folder, "next": steps}, as_json=as_json)


def _issue(pki: Path, service: str, organization: str) -> None:
    """Write keys and certificates of a development authority for *organization*."""
    authority = DevCertificateAuthority.create(pki, since=datetime.now(UTC), lifetime=TRIAL)
    authority.issue("server", [organization], hosts=["localhost", "127.0.0.1"])
    if service == "setad":
        authority.issue("client", [organization])
        authority.issue_signing("provider-receipts", MINISTRY, since=datetime.now(UTC), lifetime=TRIAL)
        (pki / "provider-receipts.key").unlink()  # only its certificate is the adapter's
        return
    authority.issue_signing("receipts", organization, since=datetime.now(UTC), lifetime=TRIAL)
    keyring = pki / "subjects.keys"
    keyring.touch(mode=0o600)
    keyring.write_text(new_keyring_line("k1"), "ascii")


def _settings(kind: type[ServingSettings]) -> str:
    """Return the settings file: each setting with its meaning, the given ones in force, defaults as comments."""
    given: dict[str, Any] = {"listen": f"127.0.0.1:{PORTS[kind.SECTION]}", **_SERVING}
    given |= _FORWARDING if kind is SetadSettings else _STORING
    heading = _HEADING.format(service=kind.SECTION, variable=kind.SECTION.upper(), days=TRIAL.days)
    return "\n".join([heading, f"[{kind.SECTION}]", *_lines(kind, given), ""])


def _lines(kind: type[ServingSettings], given: Mapping[str, Any]) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        meaning = re.sub(r"\s+", " ", field.description or "")
        yield f"# {meaning}"
        if name in given:
            yield f"{name} = {json.dumps(given[name])}"
        else:
            default = None if field.is_required() else _ANY.dump_python(field.default, mode="json")
            # For strings, numbers and lists of these, JSON syntax is valid TOML.
            yield f"#{name} = {json.dumps(default)}" if default not in (None, {}) else f"#{name} ="


def _compose(kind: type[ServingSettings]) -> str:
    """Return a compose file for one process, hardened as those of the whole deployment."""
    name, port = kind.SECTION, PORTS[kind.SECTION]
    worker = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["x-worker"]
    hardened = {key: value for key, value in worker.items() if key not in {"image", "build"}}
    prefix = f"ESTELAM_{name.upper()}"
    environment = {f"{prefix}_LISTEN": f"0.0.0.0:{port}", f"{prefix}_METRICS_LISTEN": "127.0.0.1:9100"}
    shared: dict[str, Any] = {
        "image": f"estelam:{version('estelam')}",
        **hardened,
        "user": f"{os.getuid()}:{os.getgid()}",  # who owns the keys
        "environment": environment,
        "volumes": ["./:/etc/estelam:ro", "./data:/etc/estelam/data"],
    }
    service = {**shared, "command": [name, "serve"], "ports": [f"127.0.0.1:{port}:{port}"]}
    services = {name: service}
    if kind is not SetadSettings:
        once = {"restart": "on-failure", "healthcheck": {"disable": True}}
        services["migrate"] = {**shared, **once, "command": ["migrate", name]}
        service["depends_on"] = {"migrate": {"condition": "service_completed_successfully"}}
    return yaml.dump({"name": f"estelam-{name}", "services": services}, Dumper=_PlainDumper, sort_keys=False)


class _PlainDumper(yaml.SafeDumper):
    """Writes a value that occurs twice in full."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Return that no value is written as an alias."""
        return True
