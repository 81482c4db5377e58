"""The command line against real services: what it says, and the exit code that no accident can make a no."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.main import get_group

from estelam.cli import application
from estelam.data_model import descriptors
from tests.e2e.conftest import ENDORSED, LIVE, SETTLED, CommandLine, options
from tools.env import processes
from tools.env.processes import free_ports
from tools.env.sandbox import Sandbox

CHECK = ("promissory", "check")
PERSON = ("judiciary", "check-person", "--national-id")
CHEQUE = ("judiciary", "check-cheque", "--tracking-id")


def test_the_installed_command_exits_0_for_yes_10_for_no_20_when_refused_21_when_nobody_answers(
    running: Sandbox,
) -> None:
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
def test_each_inquiry_answers_in_json_and_by_exit_code(
    estelam: CommandLine, command: tuple[str, ...], code: int, answer: str
) -> None:
    result = estelam(*command, "--json")

    assert (code, answer) == (result.code, result.json["answer"])
    assert {"inquiry_id", "answered_at"} < set(result.json)


def test_a_judiciary_answer_says_what_it_was_judged_by_in_both_calendars(estelam: CommandLine) -> None:
    result = estelam(*PERSON, "9990000085", "--json").json

    assert result["covered_since"] == "2021-03-21 (1400-01-01)"
    assert result["data_as_of"].endswith("Z")


def test_parties_are_told_after_a_yes_with_what_accepting_a_note_needs_and_no_more(estelam: CommandLine) -> None:
    estelam(*CHECK, *options(**LIVE))

    result = estelam("promissory", "parties", *options(serial=LIVE["serial"], agency="SETAD-0001"), "--json")

    assert result.code == 0
    for side in ("obligor", "beneficiary"):
        assert {"kind", "id", "full_name", "address", "postal_code"} == set(result.json[side])


def test_a_person_reads_the_answer_in_both_languages(estelam: CommandLine) -> None:
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
def test_digits_may_be_persian_or_arabic_and_separated(estelam: CommandLine, typed: dict[str, str]) -> None:
    assert estelam(*CHECK, *options(**typed)).code == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"obligor": "9990000019"}, "obligor_id"),
        ({"beneficiary": "1111111111"}, "beneficiary_id"),
        ({"serial": "140400000000001"}, "serial"),
        ({"serial": "14040000000000١x"}, "serial"),
        ({"amount": "0"}, "amount_rials"),
        ({"amount": "-1"}, "amount_rials"),
        ({"amount": "2.5e9"}, "amount_rials"),
        ({"amount": "99999999999999999999"}, "amount_rials"),
        ({"amount": ""}, "amount_rials"),
    ],
)
def test_a_malformed_question_is_refused_by_field_and_exits_20(
    estelam: CommandLine, change: dict[str, str], field: str
) -> None:
    result = estelam(*CHECK, *options(**{**LIVE, **change}), "--json")

    assert result.code == 20
    assert result.json["answer"] is None
    assert [field] == [violation["field"] for violation in result.json["violations"]]


def test_a_refusal_tells_reason_layer_both_languages_and_no_identifier(estelam: CommandLine) -> None:
    result = estelam(*CHECK, *options(**LIVE), "--as", "stranger", "--json")

    assert {
        "answer",
        "reason",
        "layer",
        "message_en",
        "message_fa",
        "violations",
        "retry_seconds",
    } == set(result.json)
    assert ("NOT_GRANTED", "caller") == (result.json["reason"], result.json["layer"])
    assert not any(value in result.out for value in LIVE.values())


def test_a_deadline_that_passes_is_no_answer(estelam: CommandLine) -> None:
    result = estelam(*CHECK, *options(**LIVE), "--timeout", "0.001", "--json")

    assert result.code in {20, 21}
    assert "NO" not in result.json.values()


def test_what_an_operator_can_mend_is_one_plain_line(sandbox: Sandbox, estelam: CommandLine) -> None:
    unplaced = CommandLine(sandbox)(*CHECK, *options(**LIVE))
    nobody = estelam(*CHECK, *options(**LIVE), "--as", "nobody")

    assert (1, "where is promissory? give --address") == (unplaced.code, unplaced.err.strip())
    assert (1, 1) == (nobody.code, nobody.err.count("\n"))
    assert "No such file or directory" in nobody.err


def test_a_kept_receipt_is_proven_offline_and_one_changed_bit_is_found(estelam: CommandLine, tmp_path: Path) -> None:
    kept = tmp_path / "receipt.json"
    estelam(*CHECK, *options(**LIVE), "--save-receipt", kept)
    proven = estelam("receipt", "verify", kept, "--json")
    damaged = bytearray(kept.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    kept.write_bytes(damaged)

    refused = estelam("receipt", "verify", kept, "--json")

    assert (0, True) == (proven.code, proven.json["valid"])
    assert ["YES"] == [reply["outcome"] for reply in proven.json["replies"]]
    assert (1, True) == (refused.code, refused.json["error"].startswith("INVALID"))


def test_a_kept_verification_proves_both_of_the_ministrys_replies(estelam: CommandLine, tmp_path: Path) -> None:
    kept = tmp_path / "receipt.json"
    estelam("setad", "verify", *options(**ENDORSED, agency="SETAD-0001"), "--save-receipt", kept)

    proven = estelam("receipt", "verify", kept, "--json")

    assert ["YES", "DISCLOSED"] == [reply["outcome"] for reply in proven.json["replies"]]


def test_a_receipt_is_not_proven_by_another_services_certificate(
    estelam: CommandLine, running: Sandbox, tmp_path: Path
) -> None:
    kept = tmp_path / "receipt.json"
    estelam(*CHECK, *options(**LIVE), "--save-receipt", kept)

    refused = estelam("receipt", "verify", kept, "--certificate", running.pki / "judiciary-receipts.crt")

    assert (1, True) == (refused.code, refused.err.startswith("INVALID"))


def test_the_ledger_of_a_serving_service_can_be_walked_and_an_earlier_head_found_in_it(estelam: CommandLine) -> None:
    head = estelam("ledger", "verify", "promissory", "--json").json["head"]
    estelam(*CHECK, *options(**LIVE))

    later = estelam("ledger", "verify", "promissory", "--head", head, "--json")
    number, _, digest = head.partition(":")
    forged = estelam("ledger", "verify", "promissory", "--head", f"{number}:{digest[::-1]}", "--json")

    assert (0, True) == (later.code, later.json["valid"])
    assert (1, True) == (forged.code, forged.json["error"].startswith("Verification failed: "))


def test_the_head_of_an_empty_ledger_is_the_beginning_of_every_chain(estelam: CommandLine, sandbox: Sandbox) -> None:
    nothing = CommandLine(sandbox)("ledger", "verify", "promissory", "--json").json["head"]
    estelam(*CHECK, *options(**LIVE))

    assert estelam("ledger", "verify", "promissory", "--head", nothing).code == 0


def test_a_head_is_printed_whole_for_a_person_too(estelam: CommandLine) -> None:
    for _ in range(10):
        estelam(*CHECK, *options(**LIVE))

    head = estelam("ledger", "verify", "promissory", "--json").json["head"]
    shown = estelam("ledger", "verify", "promissory").out

    assert head in "".join(line.split("│")[2].strip() for line in shown.splitlines() if "│" in line)


def test_a_person_may_learn_who_asked_about_them(estelam: CommandLine) -> None:
    estelam(*CHECK, *options(**ENDORSED), "--as", "agency")

    rows = estelam("ledger", "subject-report", "promissory", "۹۹۹۰۰۰۰۰۴۲", "--json").json

    assert ("99000316764", "YES") == (rows[-1]["caller"], rows[-1]["outcome"])


def test_a_group_that_is_named_comes_alone_and_whole() -> None:
    every = get_group(application()).commands
    alone = {name: get_group(application([name, "--help"])).commands for name in every}

    assert {name: [name] for name in every} == {name: list(found) for name, found in alone.items()}
    assert {name: _within(found) for name, found in every.items()} == {
        name: _within(found[name]) for name, found in alone.items()
    }
    assert list(every) == list(get_group(application(["nothing"])).commands)


def _within(command: object) -> list[str]:
    return list(getattr(command, "commands", {}))


def test_the_services_with_a_store_start_without_what_only_others_need() -> None:
    script = """if True:
        import sys
        from estelam.cli import application
        for name in ("promissory", "judiciary"):
            application([name, "serve"])
        print(*{"pyarrow", "numpy", "uvicorn", "starlette", "jinja2", "h2"} & set(sys.modules))
    """

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert "\n" == done.stdout


def test_a_group_that_comes_alone_knows_every_contract() -> None:
    services = [f"{file.package}.{service.name}" for file in descriptors.files() for service in file.service]
    script = f"""if True:
        from google.protobuf.descriptor_pool import Default
        from estelam.cli import application
        application(["receipt", "verify"])
        print(*(Default().FindServiceByName(name).full_name for name in {services}))
    """

    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert services
    assert services == done.stdout.split()
