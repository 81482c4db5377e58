"""The files under `deploy/` are consistent: names, files, settings and timeouts."""

import configparser
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from development import sandbox as suite
from development.files import CATALOGUE
from development.sandbox import GRANTS, LIST_CHANGED_ANSWERS, Sandbox
from estelam.auth.grants import AccessTable
from estelam.catalogue import loader
from estelam.client.channel import ClientIdentity
from estelam.core.addresses import check_loopback
from estelam.core.clock import Clock
from estelam.core.settings import ServingSettings, SettingsError, StoreSettings, load_settings
from estelam.core.settings_file import CONFIG
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.server.file_check import check_serving_files, check_store_files
from estelam.storage.grants import Role
from estelam.storage.migrate import migrate
from estelam.witness.settings import WitnessSettings
from judiciary.settings import JudiciarySettings
from promissory.settings import PromissorySettings
from quality.monitor import ledger_collector
from quality.monitor.prober import plan_probes
from quality.settings import QualitySettings
from sataad_adapter.settings import SetadSettings
from tests.conftest import STORING, Start, promissory_opening
from tests.e2e.conftest import CommandLine, caller
from tests.unit.receipts.test_cosignature import LOG_KEY
from tools.commands import compose_secrets
from tools.env import postgres
from tools.env.envoy import CONFIGS
from tools.env.postgres import BIN, PostgresCluster

DEPLOY = CONFIGS.parent
KINDS: dict[str, type[ServingSettings]] = {
    "promissory": PromissorySettings,
    "judiciary": JudiciarySettings,
    "setad": SetadSettings,
}

each_service = pytest.mark.parametrize("name", KINDS)


def settings(name: str) -> ServingSettings:
    stores = {f"ESTELAM_{kind.upper()}_STORE": "postgresql+psycopg://estelam@db/x" for kind in STORING}
    return load_settings(KINDS[name], environ={CONFIG: str(DEPLOY / name / "estelam.toml"), **stores})


def documents(path: Path) -> Iterator[dict[str, Any]]:
    return (document for document in yaml.safe_load_all(path.read_text("utf-8")) if document)


def found(name: str, *, within: Any) -> list[Any]:
    """Every value of the key *name*, at any depth."""
    if isinstance(within, dict):
        here = [within[name]] if name in within else []
        return here + [value for inner in within.values() for value in found(name, within=inner)]
    return [value for inner in within for value in found(name, within=inner)] if isinstance(within, list) else []


@each_service
def test_service_settings_are_valid(name: str) -> None:
    """The settings of each service load, and its callers are those of the resolutions."""
    given = settings(name)
    table = AccessTable.load(given.access)

    methods = {method for _, method, _ in GRANTS if f".{name}.v1." in method}
    beside = set() if name == "setad" else {LIST_CHANGED_ANSWERS}
    assert ("0.0.0.0:50151", "0.0.0.0:9100") == (given.listen, given.metrics_listen)
    assert methods | beside == {grant.method for grant in table.grant}
    clauses = {(grant.method, grant.clause) for grant in table.grant}
    assert {(m, c) for _, m, c in GRANTS if m in methods} == {(m, c) for m, c in clauses if m in methods}
    assert clauses <= {(m, c) for _, m, c in GRANTS}


def test_monitor_settings_probe_every_method() -> None:
    """The monitor's settings probe every method of a service with its own process, as a consumer with a grant."""
    environ = COMPOSE["services"]["quality"]["environment"]
    given = {key: value for key, value in environ.items() if key.startswith("ESTELAM_")}
    quality = load_settings(QualitySettings, environ={CONFIG: str(DEPLOY / "quality" / "estelam.toml"), **given})
    catalogue = loader.read_catalogue(CATALOGUE)
    asked = {name for errand in plan_probes(quality, catalogue, date(2026, 11, 22)) for name, _ in errand.requests}

    assert {name for name, service, _ in catalogue.methods() if service.is_monitored} == asked
    assert {"promissory-note-inquiry", "cheque-case-inquiry"} == set(quality.ledgers)
    assert set(quality.addresses) == set(quality.metrics)


def test_witness_settings_are_valid(tmp_path: Path) -> None:
    """A witness's settings load with the key of a log, not as they stand, and it listens on loopback only."""
    text = (DEPLOY / "witness" / "estelam.toml").read_text("utf-8")
    (tmp_path / "estelam.toml").write_text(text.replace("NAME+HASH+KEY", LOG_KEY))
    given = load_settings(WitnessSettings, environ={CONFIG: str(tmp_path / "estelam.toml")})

    assert check_loopback(given.listen)
    with pytest.raises(SettingsError, match="not a verifier key"):
        load_settings(WitnessSettings, environ={CONFIG: str(DEPLOY / "witness" / "estelam.toml")})


# compose.yaml

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_compose_mounts_exist(service: str) -> None:
    """Compose mounts only existing files and secrets."""
    mounts = [mount.split(":") for mount in COMPOSE["services"][service].get("volumes", [])]
    missing = [
        source
        for source, *_ in mounts
        if source.startswith("./") and not source.startswith("./secrets/") and not (DEPLOY / source).exists()
    ]

    assert [] == missing
    assert all(mode == ["ro"] for source, _, *mode in mounts if source.startswith("./"))


@each_service
def test_compose_environment_is_valid(name: str) -> None:
    """Compose starts each service with valid settings."""
    worker = COMPOSE["services"][name]
    environ = {key: value for key, value in worker["environment"].items() if key.startswith("ESTELAM_")}

    load_settings(KINDS[name], environ={CONFIG: str(DEPLOY / name / "estelam.toml"), **environ})
    assert [name, "serve"] == worker["command"]
    assert "workers" in worker["networks"][name]["aliases"]
    assert name in COMPOSE["services"][f"{name}-envoy"]["networks"]


def test_compose_ports_and_images() -> None:
    """Compose publishes ports on loopback only and pins every image to a version."""
    assert all(port.startswith("127.0.0.1:") for ports in found("ports", within=COMPOSE) for port in ports)
    assert all(":" in image and not image.endswith(":latest") for image in found("image", within=COMPOSE))


@pytest.fixture(scope="module")
def trial_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make compose` creates."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    compose_secrets.create(folder)
    return folder


@pytest.mark.parametrize("name", [*KINDS, "quality"])
def test_compose_secrets_are_complete(name: str, trial_secrets: Path, tmp_path: Path) -> None:
    """Each service can start with the keys and certificates that `make compose` creates, readable in containers."""
    text = (DEPLOY / name / "estelam.toml").read_text("utf-8")
    for kind in ("pki", "keys"):
        text = text.replace(f"/etc/estelam/{kind}/", f"{trial_secrets / name / kind}/")
    paths = [Path(path) for path in re.findall(f'"({trial_secrets}/[^"]*)"', text)]
    config = tmp_path / "estelam.toml"
    config.write_text(text.replace('"access.toml"', f'"{DEPLOY / name / "access.toml"}"'), "utf-8")

    assert paths
    assert [path for path in paths if not (path.is_file() and path.stat().st_mode & 0o004)] == []
    if name in KINDS:
        stores = {f"ESTELAM_{kind.upper()}_STORE": "postgresql+psycopg://estelam@db/x" for kind in STORING}
        given = load_settings(KINDS[name], environ={CONFIG: str(config), **stores})
        check_store_files(given) if isinstance(given, StoreSettings) else check_serving_files(given)


def test_image_health_check_and_labels() -> None:
    """The image's health check is the one of Compose, and its labels name this version and licence."""
    image = (DEPLOY / "Dockerfile").read_text("utf-8")
    checked = re.search(r"HEALTHCHECK [^\n]*\\\n *CMD (\[.*\])", image)
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', image))

    assert checked is not None
    assert json.loads(checked[1]) == COMPOSE["x-worker"]["healthcheck"]["test"][1:]
    assert (version("estelam"), "Apache-2.0 AND OFL-1.1") == (labels["version"], labels["licenses"])
    assert "--require-hashes -r requirements/image.txt" in image
    linked = {path.readlink().name for path in (DEPLOY.parent / "services").rglob("*") if path.is_symlink()}
    assert linked <= set(re.findall(r"^COPY (\w+) \w+$", image, re.MULTILINE))
    assert {f"!{name}" for name in linked} <= set((DEPLOY.parent / ".dockerignore").read_text("utf-8").split())


# Kubernetes

BASE = {
    (document["kind"], document["metadata"]["name"]): document
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for document in documents(path)
}


def test_pod_grace_period() -> None:
    """A pod's grace period is longer than its shutdown takes."""
    pod = BASE["Deployment", "workers"]["spec"]["template"]["spec"]
    before = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])

    for name in KINDS:
        given = settings(name)
        assert before + given.shutdown_delay_seconds + given.drain_seconds + 10 <= pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", ["workers", "envoy"])
def test_kubernetes_selectors_match_pods(name: str) -> None:
    """Services, disruption budgets and policies select existing pods."""
    labels = BASE["Deployment", name]["spec"]["template"]["metadata"]["labels"]

    assert labels == BASE["Deployment", name]["spec"]["selector"]["matchLabels"]
    assert labels == BASE["Service", name]["spec"]["selector"]
    assert labels == BASE["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"]
    assert labels["app"] == name
    assert BASE["PodDisruptionBudget", name]["spec"]["minAvailable"] < BASE["Deployment", name]["spec"]["replicas"]


def test_every_pod_is_restricted() -> None:
    """Every pod is restricted by its security context and network policy."""
    for pod in [pod for document in BASE.values() for pod in found("template", within=document)]:
        spec = pod["spec"]
        assert not spec["automountServiceAccountToken"]
        assert not spec["enableServiceLinks"]
        assert spec["securityContext"]["runAsNonRoot"]
        for container in spec["containers"]:
            secured = container["securityContext"]
            assert secured["readOnlyRootFilesystem"]
            assert not secured["allowPrivilegeEscalation"]
            assert ["ALL"] == secured["capabilities"]["drop"]
            volumes = {volume["name"] for volume in spec["volumes"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_envoy_secret_paths() -> None:
    """Envoy's secrets are mounted where its configuration expects them."""
    paths = set(found("path", within=list(documents(CONFIGS / "pass-through.yaml")))) | set(
        found("path", within=list(documents(CONFIGS / "terminating.yaml")))
    )
    volumes = BASE["Deployment", "envoy"]["spec"]["template"]["spec"]["volumes"]
    mounted = {f"/etc/estelam/envoy/{path}" for path in found("path", within=volumes)}

    assert {path for path in paths if path.startswith("/etc/")} == mounted
    assert {f"/etc/estelam/envoy/secrets/{path.name}" for path in (CONFIGS / "secrets").iterdir()} == mounted


def test_json_service_port() -> None:
    """The JSON Service targets the port on which the adapter serves JSON."""
    reached = {document["kind"]: document["spec"] for document in documents(DEPLOY / "setad" / "json.yaml")}
    labels = BASE["Deployment", "workers"]["spec"]["template"]["metadata"]["labels"]
    adapter = settings("setad")
    assert isinstance(adapter, SetadSettings)
    port = int(adapter.api_listen.rpartition(":")[2])

    assert labels == reached["Service"]["selector"] == reached["NetworkPolicy"]["podSelector"]["matchLabels"]
    assert [port] == [one["targetPort"] for one in reached["Service"]["ports"]]
    assert [{"ports": [{"port": port}]}] == reached["NetworkPolicy"]["ingress"]


@each_service
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not here")
def test_kustomize_builds(name: str) -> None:
    """Kustomize builds the overlay of each service."""
    built = subprocess.run(
        ["kubectl", "kustomize", DEPLOY / name], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    ).stdout
    made = {(document["kind"], document["metadata"]["name"]): document for document in yaml.safe_load_all(built)}

    assert {f"estelam-{name}"} == {document["metadata"]["namespace"] for document in made.values()}
    assert (("Job", "migrate") in made) == (name in STORING)
    assert "SERVICE" not in built
    configured = {kind_and_name[1] for kind_and_name in made if kind_and_name[0] == "ConfigMap"}
    used = {source["name"] for document in made.values() for source in found("configMap", within=document)}
    assert used == configured


# systemd

UNITS = (
    "estelam-quality.service",
    "estelam-witness.service",
    "estelam@promissory.service",
    "estelam-envoy.service",
    "estelam-verify@promissory.timer",
    "estelam-verify-all@promissory.timer",
)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_units_are_valid(tmp_path: Path) -> None:
    """systemd-analyze verify accepts the units."""
    units = tmp_path / "etc/systemd/system"
    shutil.copytree(DEPLOY / "systemd", units)
    for target in ("sysinit", "basic", "network-online", "shutdown", "multi-user", "timers", "time-set", "time-sync"):
        (units / f"{target}.target").write_text("[Unit]\n", "ascii")
    for program in ("opt/estelam/bin/estelam", "opt/estelam/bin/envoy", "bin/kill"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).touch(mode=0o755)
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={tmp_path}", *UNITS], capture_output=True, text=True, check=False
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


def test_systemd_stop_timeout() -> None:
    """Systemd's stop timeout is longer than a shutdown takes."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / "estelam@.service")

    for name in KINDS:
        given = settings(name)
        assert given.shutdown_delay_seconds + given.drain_seconds + 10 <= int(unit["Service"]["TimeoutStopSec"])


# Files that a restore must not bring back

KEPT = Path("/var/lib/estelam")


def unit_paths(unit: str) -> set[str]:
    """The folders that a unit may write to."""
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(DEPLOY / "systemd" / unit)
    section = read["Service"]
    return {f"/var/lib/{section.get('StateDirectory')}", *section.get("ReadWritePaths", "").split()}


def volume_of(service: str, folder: Path) -> str:
    """The volume that Compose mounts at *folder*, to be written to."""
    (mount,) = [each for each in map(str, COMPOSE["services"][service]["volumes"]) if f":{folder}" in each]
    return mount.removesuffix(f":{folder}")


@pytest.mark.parametrize("name", STORING)
def test_kept_checkpoint_is_writable(name: str) -> None:
    """Each service may write its kept checkpoint by its unit, in Compose and in Kubernetes, on a volume of its own."""
    given = settings(name)
    assert isinstance(given, StoreSettings)
    kept = given.kept_checkpoint
    component = DEPLOY / "kubernetes" / "kept"
    (patch,), (claim,) = documents(component / "workers.yaml"), documents(component / "claim.yaml")
    (overlay,) = documents(DEPLOY / name / "kustomization.yaml")

    assert KEPT / f"{name}.checkpoint" == kept
    assert str(KEPT) in unit_paths("estelam@.service")
    assert volume_of(name, KEPT) in set(COMPOSE["volumes"]) - {"postgresql"}
    assert ["../kubernetes/kept"] == overlay["components"]
    assert [str(KEPT)] == found("mountPath", within=patch)
    assert [claim["metadata"]["name"]] == found("claimName", within=patch)


def test_monitor_keeps_checkpoints() -> None:
    """The monitor keeps what it cosigned in a folder that its unit and Compose let it write."""
    given = tomllib.loads((DEPLOY / "quality" / "estelam.toml").read_text("utf-8"))["quality"]

    assert Path(given["kept_checkpoints"]).parent == KEPT
    assert str(KEPT) in unit_paths("estelam-quality.service")
    assert "quality-kept" == volume_of("quality", KEPT)


def test_witness_state_is_writable() -> None:
    """The witness's unit may write to both folders of its state."""
    given = tomllib.loads((DEPLOY / "witness" / "estelam.toml").read_text("utf-8"))["witness"]

    assert {given["state"], given["kept_state"]} <= unit_paths("estelam-witness.service")


# PostgreSQL


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresCluster]:
    """A server with Patroni's settings, except those that need other machines."""
    patroni = yaml.safe_load((DEPLOY / "postgresql" / "patroni.yaml").read_text("utf-8"))
    given = patroni["bootstrap"]["dcs"]["postgresql"]["parameters"] | {"archive_command": "true"}
    with postgres.cluster({name: f"'{value}'" for name, value in given.items()}) as running:
        yield running


def test_patroni_is_synchronous() -> None:
    """Patroni acknowledges no commit that only one machine has."""
    dcs = yaml.safe_load((DEPLOY / "postgresql" / "patroni.yaml").read_text("utf-8"))["bootstrap"]["dcs"]

    assert dcs["synchronous_mode"]
    assert dcs["synchronous_mode_strict"]
    assert {"on"} == {dcs["postgresql"]["parameters"][name] for name in ("fsync", "synchronous_commit")}


def test_pgbouncer_mode() -> None:
    """PgBouncer pools per transaction and supports prepared statements."""
    pooler = configparser.ConfigParser(interpolation=None)
    pooler.read(DEPLOY / "postgresql" / "pgbouncer.ini")

    assert "transaction" == pooler["pgbouncer"]["pool_mode"]
    assert int(pooler["pgbouncer"]["max_prepared_statements"]) > 0


def psql(server: PostgresCluster, database: str, script: str, *, password: str) -> None:
    command: list[str | Path] = [
        BIN / "psql",
        "-qX",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        server.folder,
        "-U",
        postgres.USER,
        "-d",
        database,
    ]
    path = DEPLOY / "postgresql" / script
    subprocess.run([*command, "-f", path], check=True, env={"ESTELAM_PASSWORD": password})


def with_role(server: PostgresCluster, tmp_path: Path, role: str) -> tuple[Sandbox, str, str]:
    """A sandbox with the samples, whose database has *role* by a migration; the database's name, and its address."""
    database = server.database()
    sandbox = suite.create_sandbox(tmp_path / "suite", stores={"promissory": server.url(database)})
    suite.load_samples(sandbox)
    with server.connect(database) as connection:
        connection.execute(SQL("CREATE ROLE {} LOGIN").format(Identifier(role)))
    migrate(sandbox.promissory().store, sandbox.promissory().MIGRATIONS, {Role(role): role})
    return sandbox, database, make_url(server.url(database)).set(username=role).render_as_string()


def test_serving_role_privileges(server: PostgresCluster, tmp_path: Path, start: Start) -> None:
    """The serving role can answer and append, and can change nothing else."""
    sandbox, database, address = with_role(server, tmp_path, "serving")
    service = start(promissory_opening(sandbox, store=address))
    with caller(sandbox, service.address, ClientIdentity.named(sandbox.pki, "setad")) as ask:
        answer = ask()

    assert ANSWER_YES == answer
    for forbidden in (
        "UPDATE ledger.entry SET subject_1 = 7",
        "DELETE FROM ledger.entry",
        "TRUNCATE ledger.checkpoint",
        "DROP TABLE ledger.entry",
        "UPDATE ledger.alembic_version SET version_num = '9'",
        "DELETE FROM facts.note",
        "INSERT INTO facts.coverage DEFAULT VALUES",
        "INSERT INTO facts.recall_run VALUES (1, 1, 1, 1)",
    ):
        with server.connect(database, "serving") as connection, pytest.raises(InsufficientPrivilege):
            connection.execute(forbidden)


def test_monitoring_role_privileges(server: PostgresCluster, tmp_path: Path, start: Start) -> None:
    """The monitoring role can read ledger and freshness, and no facts."""
    sandbox, database, address = with_role(server, tmp_path, "monitoring")
    service = start(promissory_opening(sandbox))
    with caller(sandbox, service.address, ClientIdentity.named(sandbox.pki, "setad")) as ask:
        ask()
    suite.prepare_quality(sandbox)
    quality = sandbox.quality(ledgers={"promissory-note-inquiry": address}, probe=())

    assert 3 == ledger_collector.collect_ledger(quality, "promissory-note-inquiry", Clock())
    for forbidden in ("SELECT * FROM facts.note", "INSERT INTO facts.coverage DEFAULT VALUES"):
        with server.connect(database, "monitoring") as connection, pytest.raises(InsufficientPrivilege):
            connection.execute(forbidden)


def test_recall_role_privileges(server: PostgresCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recall role can run recall, which adds a row that it can't change, and can change nothing else."""
    sandbox, database, address = with_role(server, tmp_path, "recall")
    monkeypatch.setenv("ESTELAM_PROMISSORY_STORE", address)
    result = CommandLine(sandbox)("promissory", "recall", "--since", "1", "--settle", "0", "--json")

    assert (0, []) == (result.code, result.json)
    with server.connect(database) as connection:
        assert [(1, 2, 0)] == connection.execute(
            "SELECT after_load, newest_load, answers FROM facts.recall_run"
        ).fetchall()
    for forbidden in (
        "UPDATE facts.recall_run SET answers = 7",
        "DELETE FROM facts.recall_run",
        "DELETE FROM facts.note",
        "UPDATE facts.alembic_version SET version_num = '9'",
        "INSERT INTO facts.coverage DEFAULT VALUES",
        "INSERT INTO ledger.fact_note VALUES (1, 'recall', 1)",
    ):
        with server.connect(database, "recall") as connection, pytest.raises(InsufficientPrivilege):
            connection.execute(forbidden)


def test_database_script_runs(server: PostgresCluster) -> None:
    """The committed script creates the databases."""
    psql(server, "postgres", "databases.sql", password="secret")
    with server.connect("judiciary", "estelam_owner") as connection:
        connection.execute("CREATE SCHEMA facts")
