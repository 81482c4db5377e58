"""Onboarding goes from a request to an answer in one order, and offboarding from a decision to a refusal."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from estelam.catalogue.loader import read_catalogue
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.onboarding.dossier import APPROVERS, Dossier, Step, StepName
from estelam.onboarding.request import OnboardingRequest
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import caller, outcome, refusal
from tests.unit.onboarding.conftest import BANK, LETTER, Exchange


def test_onboarding_and_offboarding(exchange: Exchange, start: Start) -> None:
    """A consumer is refused while staged, answered once active, and refused on its open connection after the end."""
    comments = [line for line in exchange.text().splitlines() if line.startswith("#")]
    service = start(promissory_opening(exchange.sandbox, access=exchange.catalogue, shutdown_delay_seconds=0))
    exchange.until("stage")
    call = exchange.call(service.address)

    done = [exchange.step("check", *call), exchange.step("activate"), exchange.step("check", *call)]
    identity = ClientIdentity(exchange.dossier / "client.crt", exchange.key, exchange.sandbox.pki / "ca.crt")
    with caller(exchange.sandbox, service.address, identity) as ask:
        before = outcome(ask)
        done.append(exchange.leave("request", "--reason", "merged", "--deny", identity.certificate))
        done.append(exchange.leave("stage"))
        done.append(exchange.leave("check", "--certificate", identity.certificate, *call))
        after = refusal(ask)

    assert [0] * 6 == [each.code for each in done], [each.err for each in done]
    assert ["NOT_GRANTED", "ANSWERED"] == outcomes(exchange.dossier)
    assert ["CERTIFICATE_DENIED"] == outcomes(exchange.leaving)
    assert "nothing: all steps are done" in exchange.step("status").out
    assert (1, Reason.CERTIFICATE_DENIED) == (before, after[1])
    assert comments == [line for line in exchange.text().splitlines() if line.startswith("#")]


@pytest.mark.parametrize(
    ("last", "step", "words", "due"),
    [
        ("request", "issue", ("--ca", "{pki}"), "approve"),
        ("request", "stage", (), "approve"),
        ("approve", "stage", (), "issue"),
        ("approve", "check", (), "issue"),
        ("issue", "activate", (), "stage"),
        ("issue", "check", (), "stage"),
        ("stage", "activate", (), "check"),
        ("stage", "stage", (), "check"),
        ("stage", "issue", ("--ca", "{pki}"), "check"),
        ("stage", "approve", ("--by", "provider", *LETTER), "check"),
    ],
)
def test_steps_out_of_order(exchange: Exchange, last: str, step: str, words: tuple[str, ...], due: str) -> None:
    """A step that is not next is refused with exit code 2, names the next one, and changes no file."""
    if last in {"request", "approve"}:
        assert 0 == exchange.request().code
    else:
        exchange.until(last)
    if last == "approve":
        exchange.approve()
    before = contents(exchange.folder)

    done = exchange.step(step, *(word.format(pki=exchange.sandbox.pki) for word in words))

    assert 2 == done.code, done.out
    assert f"next: estelam onboarding {due} " in done.err
    assert before == contents(exchange.folder)


def test_request_changed_after_approval(exchange: Exchange) -> None:
    """Approvals are of what was read: after any change of the request, no step is taken."""
    assert 0 == exchange.request().code
    exchange.approve()
    path = exchange.dossier / "request.toml"
    path.write_text(path.read_text("utf-8").replace("burst = 10", "burst = 9999"), "utf-8")

    done = exchange.step("issue", "--ca", exchange.sandbox.pki)

    assert 1 == done.code
    assert "the request was changed after the step approve" in done.err
    assert not (exchange.dossier / "client.crt").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("quota: {rate: 5.0, burst: 10}", "quota: {rate: 5.0, burst: 9999}"),
        ("consumer: sample-bank", "consumer: setad"),
        ("    staged: true\n", ""),
        ("    note: notes that secure loans\n", "    until: 2020-01-01\n"),
    ],
)
def test_grant_changed_after_staging(exchange: Exchange, old: str, new: str) -> None:
    """A staged grant that is no longer what was approved is not checked, so that it is not made active."""
    exchange.until("stage")
    text = exchange.text()
    assert old in text
    (exchange.catalogue / "grants.yaml").write_text(text.replace(old, new), "utf-8")

    done = exchange.step("check", *exchange.call("127.0.0.1:1"))

    assert 1 == done.code
    assert "CHECK" not in (exchange.dossier / "steps.toml").read_text("utf-8").upper().replace("CHECKNOTE", "")


def test_expired_request(exchange: Exchange) -> None:
    """A request whose last day is past can't be approved, issued or staged."""
    assert 0 == exchange.request().code
    path = exchange.dossier / "request.toml"
    path.write_text(re.sub("expires = .*", "expires = 2026-01-01", path.read_text("utf-8")), "utf-8")

    done = exchange.step("approve", "--by", "provider", *LETTER)

    assert 2 == done.code
    assert "the request expired on" in done.err
    assert not (exchange.dossier / "steps.toml").exists()


def test_one_approver_twice(exchange: Exchange) -> None:
    """A second approval by the same side is refused, and is not the other's."""
    assert 0 == exchange.request().code
    assert 0 == exchange.step("approve", "--by", "provider", *LETTER).code

    twice = exchange.step("approve", "--by", "provider", *LETTER)

    assert 2 == twice.code
    assert 2 == exchange.step("issue", "--ca", exchange.sandbox.pki).code


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"method": "CheckNotes"}, "no method is named CheckNotes; did you mean CheckNote?"),
        ({"legal-id": "99001187852"}, "is that of setad"),
        ({"consumer": "setad"}, "setad has the legal id 99001187852 in the catalogue"),
        ({"legal-id": "99000079190"}, "must be a legal person's national id with a right check digit"),
        ({"legal-id": "9990000018"}, "must be the 11 digits of a legal person"),
        ({"consumer": "executive-agencies"}, "is a class of parties"),
        ({"consumer": "banks"}, "is a class of parties"),
        ({"purpose": "two\nlines"}, "purpose: has an invisible character"),
        ({"burst": "999999999", "rate": "0.000001"}, "rate: refills the bucket"),
    ],
)
def test_impossible_requests(exchange: Exchange, changed: dict[str, str], problem: str) -> None:
    """A request that could not be carried out is refused before a file is written."""
    done = exchange.request(**changed)

    assert 2 == done.code
    assert problem in done.err
    assert not exchange.dossier.exists()


def test_digits_of_the_legal_id(exchange: Exchange) -> None:
    """A legal id in Persian digits is the same id."""
    assert 0 == exchange.request(**{"legal-id": "۹۹۰۰۰۰۷۹۱۹۵"}).code


@pytest.mark.parametrize("step", ["stage", "activate"])
def test_interrupted_step(exchange: Exchange, step: str) -> None:
    """A step that ended after the catalogue was written and before it was recorded can be taken again."""
    exchange.until("stage" if step == "activate" else "issue")
    steps = exchange.dossier / "steps.toml"
    if step == "activate":
        called = '\n[[step]]\nstep = "check"\non = 2026-12-01\nrequest = "{}"\noutcome = "NOT_GRANTED"\n'
        digest = re.findall('request = "(.*)"', steps.read_text("utf-8"))[0]
        steps.write_text(steps.read_text("utf-8") + called.format(digest), "utf-8")
    before = steps.read_bytes()
    first = exchange.step(step)
    recorded, grants = steps.read_bytes(), exchange.text()
    steps.write_bytes(before)
    second = exchange.step(step)

    assert [0, 0] == [first.code, second.code], second.err
    assert (recorded, grants) == (steps.read_bytes(), exchange.text())


def test_interrupted_end(exchange: Exchange) -> None:
    """An end that was written and not recorded can be taken again; a request that ends nothing is refused."""
    exchange.leave("request", *moved("1405-01-01"), consumer="cbi")
    first = exchange.leave("stage")
    ended = exchange.text()
    (exchange.leaving / "steps.toml").unlink()
    second = exchange.leave("stage")
    other = exchange.folder / "offboarding" / "other"
    exchange.estelam("offboarding", "request", other, "--consumer", "moi", *moved("1405-01-01"))
    nothing = exchange.estelam("offboarding", "stage", other, "--catalogue", exchange.catalogue)

    assert [(0, "ended G16, G17, G19")] * 2 == [
        (each.code, " ".join(each.out.splitlines()[0].split())) for each in (first, second)
    ]
    assert ended == exchange.text()
    assert (2, True) == (nothing.code, "nothing is left to end" in nothing.err)


def test_methods_of_several_providers(exchange: Exchange) -> None:
    """A request names methods of one provider, since that one approves."""
    done = exchange.request("--method", "CheckByNationalId")

    assert 2 == done.code
    assert "make a request for each" in done.err


def test_offboarding_on_a_day(exchange: Exchange) -> None:
    """Grants end with the last day, those of other consumers stay, and a check before the end is refused."""
    before = read_catalogue(exchange.catalogue)

    done = [
        exchange.leave("request", *moved("1470-01-01"), consumer="cbi"),
        exchange.leave("check"),
        exchange.leave("stage"),
    ]
    early = exchange.leave("check")

    after = read_catalogue(exchange.catalogue)
    ended = {grant.id for grant in after.grants if grant.until}
    assert {grant.id for grant in before.grants if grant.consumer == "cbi"} == ended
    assert [grant for grant in before.grants if grant.consumer != "cbi"] == [
        grant for grant in after.grants if grant.consumer != "cbi"
    ]
    assert [0, 2, 0, 2] == [each.code for each in (*done, early)]
    assert "the access ends after 1470-01-01" in early.err


def test_denial_alone(exchange: Exchange) -> None:
    """Where only keys are denied, the check lists the grants that stay in force; another party's key is not denied."""
    exchange.until("issue")
    exchange.step("stage")
    foreign = exchange.leave("request", "--reason", "lost", "--deny", exchange.dossier / "client.crt", consumer="cbi")
    own = exchange.sandbox.pki / "cbi.crt"
    done = [
        exchange.leave("request", "--reason", "lost", "--deny", own, consumer="cbi"),
        exchange.leave("stage"),
        exchange.leave("check", "--json"),
    ]

    assert (2, True) == (foreign.code, f"names {BANK}, not cbi" in foreign.err)
    assert [0, 0, 0] == [each.code for each in done]
    assert ["G16", "G17", "G19"] == done[-1].json["grants_without_end"]


def test_approvals_at_the_same_time(exchange: Exchange) -> None:
    """Each of two approvals that are recorded at the same time is kept."""
    assert 0 == exchange.request().code
    dossier = Dossier.open(exchange.dossier, OnboardingRequest)
    for name in APPROVERS:  # both have read the dossier before the first is recorded
        step = Step(step=StepName.APPROVE, on=date(2026, 12, 1), request=dossier.digest, by=name, reference="letter")
        taken = dossier.record(step)

    assert ["provider", "secretariat"] == [step.by for step in taken.steps]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: dossier.record(step), range(40)))
    assert 42 == len(Dossier.open(exchange.dossier, OnboardingRequest).steps)


def test_offboarding_without_the_key(exchange: Exchange) -> None:
    """An end in the past is checked by the catalogue alone where the consumer's key is not at hand, and says so."""
    exchange.leave("request", *moved("1405-01-01"), consumer="cbi")
    exchange.leave("stage")

    done = exchange.leave("check", "--json")

    assert (0, "NOT_CALLED") == (done.code, done.json["outcome"])


def test_offboarding_undone(exchange: Exchange) -> None:
    """A check fails where somebody has given the consumer access again."""
    text = exchange.text()
    exchange.leave("request", *moved("1405-01-01"), consumer="cbi")
    exchange.leave("stage")
    (exchange.catalogue / "grants.yaml").write_text(text, "utf-8")

    done = exchange.leave("check")

    assert 1 == done.code
    assert "the grant G16 has not ended" in done.err


def test_offboarding_of_a_member(exchange: Exchange) -> None:
    """A grant to a class is not ended for one member, by mistake for all."""
    text = exchange.text()
    exchange.leave("request", *moved("1405-01-01"), consumer="sample-agency")

    done = exchange.leave("stage")

    assert 2 == done.code
    assert "is a grant to the class executive-agencies" in done.err
    assert text == exchange.text()


def test_staged_party(exchange: Exchange) -> None:
    """Staging adds the consumer with its legal id, and nobody is admitted by the staged grant."""
    exchange.until("stage")
    found = read_catalogue(exchange.catalogue)
    explained = exchange.estelam(
        *("catalogue", "explain", "--consumer", BANK, "--method", "CheckNote", "--json"),
        *("--catalogue", exchange.catalogue),
    )

    assert ["sample-bank"] == [party.slug for party in found.parties if party.legal_id == BANK]
    assert 20 == explained.code
    assert ["G25 (R2.1) is staged, not active"] == explained.json["why_not"]


def moved(until: str) -> tuple[str, ...]:
    """The options of a consumer's end on the day *until*."""
    return "--reason", "moved", "--until", until


def outcomes(folder: Path) -> list[str]:
    """The recorded outcomes of the calls in the dossier *folder*."""
    return re.findall('outcome = "(.*)"', (folder / "steps.toml").read_text("utf-8"))


def contents(folder: Path) -> dict[Path, bytes]:
    """The content of every file below *folder*."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
