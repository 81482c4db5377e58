"""The command line against running services: output, exit codes and errors."""

import contextlib
import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread

import pytest

from development import processes
from development.processes import free_ports
from development.sandbox import Sandbox
from estelam.cli import inquire
from estelam.data_model import descriptors
from estelam.receipts.own_call import OwnCall
from tests.e2e.conftest import ENDORSED, LIVE, SETTLED, CommandLine, options

CHECK = ("promissory", "check")
PERSON = ("judiciary", "check-person", "--national-id")
CHEQUE = ("judiciary", "check-cheque", "--tracking-id")


def test_exit_codes(
    running: Sandbox,
) -> None:
    """The installed command exits 0 for YES, 10 for NO, 20 for a refusal and 21 without a reply."""
    nowhere = f"127.0.0.1:{free_ports('nobody')['nobody']}"
    commands = {
        0: options(**LIVE),
        10: options(**SETTLED),
        20: [*options(**LIVE), "--as", "stranger"],
        21: [*options(**LIVE), "--address", nowhere],
    }

    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda words: processes.run_command(running, *CHECK, *words), commands.values())

    assert list(commands) == [command.returncode for command in done]


@pytest.mark.parametrize(
    "command",
    [
        (*CHECK, *options(**LIVE)),
        ("promissory", "parties", *options(serial=LIVE["serial"], agency="SETAD-0001")),
        (*PERSON, "9990000050"),
        (*CHEQUE, "140000000000000002"),
    ],
)
def test_reply_of_another_call(
    estelam: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A genuine reply to another call, which lacks this call's nonce, is no answer, and is not saved."""
    estelam(*CHECK, *options(**LIVE))
    monkeypatch.setattr(OwnCall, "metadata", (("x-nonce", "another-nonce-of-another-call"),))
    result = estelam(*command, "--save-receipt", tmp_path / "receipt.json")

    assert (21, "", []) == (result.code, result.out, [*tmp_path.iterdir()])
    assert "the reply is not proven: the receipt is of another call: it has not its nonce" in result.err


@pytest.mark.parametrize(
    "command",
    [
        (*CHECK, *options(**LIVE)),
        (*CHECK, *options(**SETTLED)),
        ("promissory", "parties", *options(serial=LIVE["serial"], agency="SETAD-0001")),
        ("setad", "verify", *options(**LIVE, agency="SETAD-0001")),
    ],
)
def test_signature_of_the_receipt(
    estelam: CommandLine, running: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """A reply under another key than the provider's is no answer; without a certificate, a warning is printed.

    With one that can't be used, nothing is asked.
    """
    estelam(*CHECK, *options(**LIVE))
    pki = Path(shutil.copytree(running.pki, tmp_path / "pki"))
    monkeypatch.setenv("ESTELAM_CLIENT_PKI", str(pki))
    receipts = pki / "promissory-receipts.crt"
    receipts.write_bytes((pki / "judiciary-receipts.crt").read_bytes())
    unproven = estelam(*command)
    receipts.write_text("damaged", "ascii")
    with monkeypatch.context() as patch:
        patch.setattr(inquire, "call", lambda *_: pytest.fail("asked"))
        unusable = estelam(*command)
    receipts.unlink()
    unverified = estelam(*command)

    assert (21, "") == (unproven.code, unproven.out)
    assert "the reply is not proven" in unproven.err
    assert (1, True) == (unusable.code, str(receipts) in unusable.err)
    assert unverified.code in {0, 10}
    assert f"the receipt's signature will not be verified: there is no {receipts}" in unverified.err


@pytest.mark.parametrize(
    ("command", "code", "answer"),
    [
        ((*CHECK, *options(**LIVE)), 0, "YES"),
        ((*CHECK, *options(**SETTLED)), 10, "NO"),
        ((*CHECK, *options(**{**LIVE, "amount": "2500000001"})), 10, "NO"),
        ((*PERSON, "9990000050"), 0, "YES"),
        ((*PERSON, "9990000093"), 0, "YES"),
        ((*PERSON, "9990000085"), 10, "NO"),
        ((*CHEQUE, "140000000000000001"), 0, "YES"),
        ((*CHEQUE, "140000000000000002"), 10, "NO"),
        (("setad", "verify", *options(**ENDORSED, agency="SETAD-0001")), 0, "YES"),
        (("setad", "verify", *options(**SETTLED, agency="SETAD-0001")), 10, "NO"),
    ],
)
def test_inquiry_json(estelam: CommandLine, command: tuple[str, ...], code: int, answer: str) -> None:
    """Every inquiry prints its answer as JSON, and its exit code agrees."""
    result = estelam(*command, "--json")

    assert (code, answer) == (result.code, result.json["answer"])
    assert {"inquiry_id", "answered_at"} < set(result.json)


def test_judiciary_coverage(estelam: CommandLine) -> None:
    """A judiciary answer states its coverage in both calendars, and how recent its data is."""
    result = estelam(*PERSON, "9990000085", "--json").json

    assert result["covered_since"] == "2021-03-21"
    assert result["data_as_of"].endswith("Z")


def test_parties_after_yes(estelam: CommandLine) -> None:
    """After a YES, the parties are printed with the fields of the contract and no others."""
    estelam(*CHECK, *options(**LIVE))

    result = estelam("promissory", "parties", *options(serial=LIVE["serial"], agency="SETAD-0001"), "--json")

    assert result.code == 0
    for side in ("obligor", "beneficiary"):
        assert {"kind", "id", "full_name", "address", "postal_code"} == set(result.json[side])


def test_answer_languages(estelam: CommandLine) -> None:
    """Without --json the answer is printed in both languages."""
    assert "بلی / YES" in estelam(*CHECK, *options(**LIVE)).out
    assert "خیر / NO" in estelam(*CHECK, *options(**SETTLED)).out


@pytest.mark.parametrize(
    "typed",
    [
        {"serial": "۱۴۰۴۰۰۰۰۰۰۰۰۰۰۱۷", "obligor": "۹۹۹۰۰۰۰۰۱۸", "beneficiary": "۹۹۰۰۰۵۵۴۳۳۰", "amount": "۲۵۰۰۰۰۰۰۰۰"},
        {"serial": "١٤٠٤٠٠٠٠٠٠٠٠٠٠١٧", "obligor": "٩٩٩٠٠٠٠٠١٨", "beneficiary": "٩٩٠٠٠٥٥٤٣٣٠", "amount": "٢٥٠٠٠٠٠٠٠٠"},
        {
            "serial": "1404-0000-0000-0017",
            "obligor": " 999 000001 8 ",
            "beneficiary": "\u200e99000554330\u200f",
            "amount": "2,500,000,000",
        },
        {
            "serial": "۱۴۰۴ ۰۰۰۰ ۰۰۰۰ ۰۰۱۷",
            "obligor": "۹۹۹-۰۰۰۰۰۱-۸",
            "beneficiary": "99000554330",
            "amount": "۲٬۵۰۰٬۰۰۰٬۰۰۰",
        },
    ],
    ids=["persian", "arabic", "separators", "persian with separators"],
)
def test_digit_scripts(estelam: CommandLine, typed: dict[str, str]) -> None:
    """Digits may be Persian or Arabic, and separated."""
    assert estelam(*CHECK, *options(**typed)).code == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"obligor": "9990000019"}, "obligor_id"),
        ({"beneficiary": "1111111111"}, "beneficiary_id"),
        ({"serial": "140400000000001"}, "serial"),
        ({"serial": "14040000000000١x"}, "serial"),
        ({"amount": "0"}, "amount_rials"),
    ],
)
def test_invalid_field(estelam: CommandLine, change: dict[str, str], field: str) -> None:
    """A malformed value is refused with the name of its field, and exits 20."""
    result = estelam(*CHECK, *options(**{**LIVE, **change}), "--json")

    assert result.code == 20
    assert result.json["answer"] is None
    assert [field] == [found["field"] for found in result.json["fields"]]


NO_AMOUNTS = ("abc", "2,500,00", "-1", "2.5e9", "9223372036854775808", "99999999999999999999", "")


@pytest.mark.parametrize("amount", NO_AMOUNTS)
@pytest.mark.parametrize("command", [CHECK, ("setad", "verify", "--agency", "SETAD-0001")], ids=["check", "verify"])
def test_amount_that_cannot_be_asked(sandbox: Sandbox, command: tuple[str, ...], amount: str) -> None:
    """An amount that no request can hold exits 2, names every field that is wrong, and nothing is asked."""
    wrong = {**LIVE, "serial": "1.404E+15", "amount": amount}
    address = ("--address", "127.0.0.1:9")  # nobody answers there: a question asked would exit 21
    text = CommandLine(sandbox)(*command, *options(**wrong), *address)
    result = CommandLine(sandbox)(*command, *options(**wrong), *address, "--json")

    assert (2, True) == (text.code, text.err.startswith("Not asked: FIELD_INVALID (caller)\n"))
    assert (2, None) == (result.code, result.json["answer"])
    assert ["serial", "amount_rials"] == [found["field"] for found in result.json["fields"]]


def test_refusal_json(estelam: CommandLine) -> None:
    """A refusal prints the JSON error, with texts in both languages and no identifier."""
    result = estelam(*CHECK, *options(**LIVE), "--as", "stranger", "--json")

    assert {
        "error",
        "reason",
        "layer",
        "address",
        "fields",
        "answer",
        "message_fa",
        "retry_seconds",
    } == set(result.json)
    assert ("NOT_GRANTED", "caller") == (result.json["reason"], result.json["layer"])
    assert not any(value in result.out for value in LIVE.values())


def test_deadline_is_no_answer(estelam: CommandLine) -> None:
    """A deadline that passes is printed as no answer."""
    result = estelam(*CHECK, *options(**LIVE), "--timeout", "0.001", "--json")

    assert result.code in {20, 21}
    assert "NO" not in result.json.values()


def test_operator_errors(sandbox: Sandbox, estelam: CommandLine) -> None:
    """An error that the operator can correct is one line that says what to do."""
    without_address = CommandLine(sandbox)(*CHECK, *options(**LIVE))
    without_certificate = estelam(*CHECK, *options(**LIVE), "--as", "nobody")

    assert (2, 1) == (without_address.code, without_address.err.count("\n"))
    assert "no address of the service promissory: give --address" in without_address.err
    assert (2, 1) == (without_certificate.code, without_certificate.err.count("\n"))
    assert re.search("nobody.crt: no such file; there are agency, .*cbi, .*setad", without_certificate.err)


def test_connection_error(estelam: CommandLine) -> None:
    """A connection error names the address and the certificate's path and subject, and shows nothing of gRPC's log."""
    address = f"127.0.0.1:{free_ports('closed')['closed']}"

    printed = estelam(*CHECK, *options(**LIVE), "--address", address)
    as_json = estelam(*CHECK, *options(**LIVE), "--address", address, "--json").json

    assert address in printed.err
    assert "setad.crt (" in printed.err
    assert 3 == printed.err.count("\n")
    assert "سرویس در دسترس نیست" in as_json["message_fa"]
    assert as_json["message_fa"] in printed.err
    assert (address, None, []) == (as_json["address"], as_json["reason"], as_json["fields"])


def test_wrong_port_has_no_grpc_log(running: Sandbox) -> None:
    """A TLS handshake that fails prints three lines to stderr, and none of gRPC's log."""
    with socket.create_server(("127.0.0.1", 0)) as plain:
        Thread(target=_close_connections, args=[plain], daemon=True).start()
        address = f"127.0.0.1:{plain.getsockname()[1]}"
        done = processes.run_command(running, *CHECK, *options(**LIVE), "--address", address)

    assert (21, "", 3) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert address in done.stderr


def _close_connections(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()


@pytest.mark.parametrize("encoding", [pytest.param("cp1252", marks=pytest.mark.slow), "ascii"])
def test_answer_in_any_encoding(running: Sandbox, encoding: str) -> None:
    """An answer is printed, and exits with its code, whatever characters stdout can encode."""
    environ = {"PYTHONIOENCODING": encoding, "LANG": "C"}
    printed = processes.run_command(running, *CHECK, *options(**LIVE), environ=environ)
    as_json = processes.run_command(running, *CHECK, *options(**LIVE), "--json", environ=environ)

    assert (0, 0) == (printed.returncode, as_json.returncode)
    assert "YES" in printed.stdout
    assert "YES" == json.loads(as_json.stdout)["answer"]


def test_save_receipt_checked_first(estelam: CommandLine, tmp_path: Path) -> None:
    """The file of --save-receipt is checked before the inquiry, and overwritten only with --force."""
    kept, head = tmp_path / "receipt.json", ("ledger", "verify", "promissory", "--json")
    kept.write_text("evidence", "utf-8")
    before = estelam(*head).json["entries"]
    refused = [
        estelam(*CHECK, *options(**LIVE), "--save-receipt", path)
        for path in (kept, tmp_path, tmp_path / "none" / "receipt.json")
    ]
    after, evidence = estelam(*head).json["entries"], kept.read_text("utf-8")
    forced = estelam(*CHECK, *options(**LIVE), "--save-receipt", kept, "--force")

    assert [2, 2, 2] == [found.code for found in refused]
    assert "--force" in refused[0].err
    assert ("evidence", before) == (evidence, after)
    assert (0, 0) == (forced.code, estelam("receipt", "verify", kept).code)


def test_receipt_verify(estelam: CommandLine, tmp_path: Path) -> None:
    """A saved receipt is valid, and invalid once one bit is changed."""
    kept = tmp_path / "receipt.json"
    estelam(*CHECK, *options(**LIVE), "--save-receipt", kept)
    proven = estelam("receipt", "verify", kept, "--json")
    damaged = bytearray(kept.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    kept.write_bytes(damaged)

    refused = estelam("receipt", "verify", kept, "--json")

    assert (0, True) == (proven.code, proven.json["valid"])
    assert ["YES"] == [reply["outcome"] for reply in proven.json["replies"]]
    assert (refused.code, refused.json["verdict"]) in {(1, "INVALID"), (2, "MALFORMED")}


@pytest.mark.parametrize("command", ["check-person", "check-cheque"])
@pytest.mark.parametrize("found", [True, False])
def test_verified_coverage(estelam: CommandLine, tmp_path: Path, command: str, *, found: bool) -> None:
    """The verification of a reply with coverage prints what the reply states, as the inquiry did."""
    asked = {
        "check-person": options(national_id="9990000050" if found else "9990000069"),
        "check-cheque": options(tracking_id="140000000000000001" if found else "139900000000000001"),
    }
    kept = tmp_path / "receipt.json"
    printed = estelam("judiciary", command, *asked[command], "--save-receipt", kept).out
    replied = estelam("judiciary", command, *asked[command], "--json").json
    proven = estelam("receipt", "verify", kept, "--json").json["replies"][0]
    text = estelam("receipt", "verify", kept).out
    lines = [
        " ".join(line.split()) for line in printed.splitlines() if line.startswith(("covered since", "data as of"))
    ]

    assert ("YES" if found else "NO") == proven["outcome"]
    assert {name: replied[name] for name in ("covered_since", "data_as_of")}.items() <= proven.items()
    assert len(lines) == 2
    assert set(lines) <= {" ".join(line.split()) for line in text.splitlines()}


def test_verification_receipts(estelam: CommandLine, tmp_path: Path) -> None:
    """A saved verification holds the receipts of both of the ministry's replies."""
    kept = tmp_path / "receipt.json"
    estelam("setad", "verify", *options(**ENDORSED, agency="SETAD-0001"), "--save-receipt", kept)

    proven = estelam("receipt", "verify", kept, "--json")

    assert ["YES", "DISCLOSED"] == [reply["outcome"] for reply in proven.json["replies"]]


def test_receipt_of_other_service(estelam: CommandLine, running: Sandbox, tmp_path: Path) -> None:
    """A receipt is not verified, and not called invalid, under the certificate of another service."""
    kept = tmp_path / "receipt.json"
    estelam(*CHECK, *options(**LIVE), "--save-receipt", kept)

    refused = estelam("receipt", "verify", kept, "--certificate", running.pki / "judiciary-receipts.crt")

    assert (21, True) == (refused.code, refused.err.startswith("NOT CHECKED"))


def test_service_imports() -> None:
    """The services that have a store do not import what only other commands need."""
    script = """if True:
        import sys
        from estelam.cli.deferred import implementation
        from estelam.cli.root import all_commands, root_command
        commands = all_commands(root_command())
        for name in ("promissory", "judiciary"):
            implementation(commands[f"{name} serve"].callback)
        print(*{"pyarrow", "numpy", "jinja2", "h2", "alembic", "psycopg"} & set(sys.modules))
    """

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert "\n" == done.stdout


def test_contracts_imported() -> None:
    """A command that runs alone imports the contracts of all services."""
    services = [f"{file.package}.{service.name}" for file in descriptors.files() for service in file.service]
    script = f"""if True:
        from google.protobuf.descriptor_pool import Default
        from estelam.cli.deferred import implementation
        from estelam.cli.root import all_commands, root_command
        implementation(all_commands(root_command())["receipt verify"].callback)
        print(*(Default().FindServiceByName(name).full_name for name in {services}))
    """

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert services
    assert services == done.stdout.split()


def test_unsaved_receipt_loses_no_answer(estelam: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the receipt can't be saved after the reply has come, the command exits 1 and prints the reply."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(inquire, "write_archive", fail)
    command: tuple[str | Path, ...] = (*CHECK, *options(**LIVE), "--save-receipt", tmp_path / "receipt.json")
    result = estelam(*command, "--json")

    assert (1, "ANSWER_YES") == (result.code, result.json["reply"]["answer"])
    assert "no space left on device" in estelam(*command).err
    assert [] == list(tmp_path.iterdir())
