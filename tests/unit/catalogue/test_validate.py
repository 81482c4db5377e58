"""The catalogue's check: what is committed holds, and each fault is told with its file, its line and its place."""

import json
from pathlib import Path

import pytest

from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.loader import LARGEST_FILE, CatalogueError, ConfigIssue, read_catalogue
from tests.e2e.conftest import CommandLine
from tests.unit.catalogue.conftest import COMMITTED, Edit
from tests.unit.test_contract import MANDATED
from tools.env.sandbox import GRANTS, JUDICIARY, MINISTRY, ORGANIZATIONS


def faults(folder: Path) -> list[ConfigIssue]:
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(folder)
    return list(caught.value.issues)


def only_fault(folder: Path) -> tuple[str, str, str]:
    """File, place and words of the one fault, which stands on the line that the words are about."""
    (fault,) = faults(folder)
    return fault.file, fault.location, fault.message


def test_the_committed_catalogue_holds_all_that_the_resolutions_name() -> None:
    catalogue = read_catalogue(COMMITTED)

    first = [grant for grant in catalogue.grants if grant.clause.startswith("R1.")]
    assert (29, 23) == (len(catalogue.registries), len({registry.custodian for registry in catalogue.registries}))
    assert (12, 4, 6) == (len(first), len({g.consumer for g in first}), len({g.service for g in first}))
    assert 6 == len([service for service in catalogue.services if service.wire is None])
    assert all(grant.provider_agreement and grant.secretariat_consent for grant in catalogue.grants)


def test_the_committed_catalogue_provides_exactly_the_contracts_methods() -> None:
    catalogue = read_catalogue(COMMITTED)

    assert {f"{service}/{method}" for service, methods in MANDATED.items() for method in methods} == {
        name for name, _, _ in catalogue.methods()
    }


def test_the_derived_table_grants_what_the_sandbox_does() -> None:
    table = access_table(read_catalogue(COMMITTED))

    expected = {(ORGANIZATIONS[name], method, clause) for name, method, clause in GRANTS}
    assert expected == {(grant.caller, grant.method, grant.clause) for grant in table.grant}


def test_the_providers_legal_ids_are_those_of_the_sandbox() -> None:
    catalogue = read_catalogue(COMMITTED)
    ids = {party.slug: party.legal_id for party in catalogue.parties}

    assert (MINISTRY, JUDICIARY) == (ids["mefa"], ids["judiciary-stat-center"])


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "words"),
    [
        ("grants.yaml", "consumer: cra", "consumer: crab", "grants.0.consumer", "no party is called crab"),
        ("grants.yaml", "service: tax-debt", "service: debt", "grants.1.service", "no service is called debt"),
        (
            "grants.yaml",
            "method: CheckNote",
            "method: Check",
            "grants.12.method",
            "promissory-note-inquiry has no method Check",
        ),
        ("grants.yaml", "on: 2021-08-24", "on: 2021-02-30", "grants.0.provider_agreement.on", "is no day of the"),
        ("grants.yaml", "since: 2021-08-24", "since: 1400-12-30", "grants.0.since", "is no day of the"),
        ("grants.yaml", "since: 2021-08-24", "since: 20210824", "grants.0.since", "is no day of the"),
        (
            "grants.yaml",
            "since: 2021-08-24",
            "since: 0140-06-02",
            "grants.0.since",
            "lies before 1921-03-21 or after",
        ),
        (
            "grants.yaml",
            "since: 2021-08-24",
            "since: 2021-08-24\n    until: 2021-08-23",
            "grants.0.until",
            "ends before it begins",
        ),
        (
            "grants.yaml",
            "consumer: executive-agencies",
            "consumer: setad",
            "grants.13",
            "overlaps G13: both hold for setad",
        ),
        ("grants.yaml", "id: G02", "id: G01", "grants.1.id", "G01 stands here a second time"),
        ("grants.yaml", "clause: R1.1", "claus: R1.1", "grants.0.clause", "Field required"),
        ("grants.yaml", "rate: 200,", "rate: 0,", "grants.12.quota.rate", "should be greater than 0"),
        ("grants.yaml", "    quota: { rate: 200, burst: 400, miss_cost: 20 }\n", "", "grants.12", "needs a quota"),
        (
            "grants.yaml",
            "service: tax-debt\n",
            "service: tax-debt\n    method: CheckNote\n",
            "grants.1",
            "is listed alone",
        ),
        ("parties.yaml", '"99000712713"', "99000712713", "parties.20.legal_id", "should be a valid string"),
        ("parties.yaml", '"99000712713"', '"99001187852"', "parties.20.legal_id", "stands here a second time"),
        ("parties.yaml", "member_of: executive-agencies", "member_of: cbi", "parties.23.member_of", "not a class"),
        (
            "registries.yaml",
            "custodian: nocr",
            "custodian: nobody",
            "registries.0.custodian",
            "no party is called nobody",
        ),
        ("services.yaml", "provider: moi", "provider: mo1", "services.0.provider", "no party is called mo1"),
        (
            "services.yaml",
            "registry: tax-and-taxpayers",
            "registry: tax",
            "services.1.registry",
            "no registry is called tax",
        ),
        (
            "services.yaml",
            "introduced: 2021-08-24",
            "sunset: 2021-08-23\n        introduced: 2021-08-24",
            "services.6.methods.0.sunset",
            "lies before introduced",
        ),
    ],
)
def test_a_fault_is_told_with_file_place_and_words(
    folder: Path, edit: Edit, file: str, old: str, new: str, place: str, words: str
) -> None:
    edit(file, old, new)

    found = faults(folder)

    assert (file, place) == (found[0].file, found[0].location)
    assert words in found[0].message


@pytest.mark.parametrize(
    ("file", "old", "new", "line"),
    [
        ("grants.yaml", "on: 2021-08-24", "on: 2021-02-30", 8),
        ("grants.yaml", "consumer: executive-agencies", "consumer: setad", 98),
        ("grants.yaml", "clause: R1.1", "claus: R1.1", 4),
        ("grants.yaml", "id: G01", "id: [", 6),
        ("parties.yaml", '"99000712713"', "x", 94),
    ],
)
def test_the_line_of_a_fault_is_where_it_stands_or_what_lacks_it(
    folder: Path, edit: Edit, file: str, old: str, new: str, line: int
) -> None:
    edit(file, old, new)

    assert line == faults(folder)[0].line


def test_every_fault_is_told_at_once(folder: Path, edit: Edit) -> None:
    edit("grants.yaml", "consumer: cra", "consumer: crab")
    edit("registries.yaml", "custodian: nocr", "custodian: nobody")

    assert {"grants.0.consumer", "registries.0.custodian"} == {fault.location for fault in faults(folder)}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"grants: [", "is not YAML"),
        (b"- grants", "must be a mapping"),
        (b"parties: []", "must have the key grants, and no other"),
        (b"grants: []\ngrants: []", "a key must be a plain word that stands there once"),
        (b"grants: &a [*a]", "an alias is not taken here"),
        (b"grants: " + b"[" * 20_000, "is not YAML"),
        (b"grants: " + b"x" * LARGEST_FILE, "is larger than a mebibyte"),
        (b"grants: !!python/object/apply:os.system [id]", "should be"),
        (b"grants: []", "should have at least 1 item"),
        (None, "can't be read"),
    ],
)
def test_what_is_no_catalogue_at_all_is_said_so(folder: Path, content: bytes | None, words: str) -> None:
    (folder / "grants.yaml").unlink()
    if content is not None:
        (folder / "grants.yaml").write_bytes(content)

    file, _, said = only_fault(folder)

    assert "grants.yaml" == file
    assert words in said


def test_two_grants_of_one_method_may_follow_each_other(folder: Path, edit: Edit) -> None:
    text = (folder / "grants.yaml").read_text("utf-8")
    begin, end = text.index("  - id: G13"), text.index("  - id: G14")
    second = text[begin:end].replace("G13", "G19").replace("since: 2021-08-24", "since: 1406-01-01")
    edit("grants.yaml", text[begin:end], text[begin:end] + "    until: 1405-12-29\n")
    (folder / "grants.yaml").write_text((folder / "grants.yaml").read_text("utf-8") + second, "utf-8")

    assert 19 == len(read_catalogue(folder).grants)


def test_the_command_says_the_faults_and_exits_1(estelam: CommandLine, folder: Path, edit: Edit) -> None:
    holds = estelam("catalogue", "check", "--catalogue", str(folder))
    edit("grants.yaml", "consumer: cra", "consumer: crab")
    plain = estelam("catalogue", "check", "--catalogue", str(folder))
    told = estelam("catalogue", "check", "--catalogue", str(folder), "--json")

    assert (0, 1, 1) == (holds.code, plain.code, told.code)
    assert f"{folder}/grants.yaml:6: grants.0.consumer: no party is called crab" in plain.err
    assert [{"file": "grants.yaml", "line": 6, "place": "grants.0.consumer", "words": "no party is called crab"}] == (
        json.loads(told.out)
    )
