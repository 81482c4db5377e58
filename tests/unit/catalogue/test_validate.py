"""Validation of the catalogue: the committed one is valid, every issue is reported with file, line and location."""

import tomllib
from datetime import date
from pathlib import Path

import pytest

from development.sandbox import GRANTS, JUDICIARY, MINISTRY, ORGANIZATIONS
from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.loader import MAX_FILE_BYTES, CatalogueError, ConfigIssue, read_catalogue
from estelam.compat.check import MIN_NOTICE
from tests.e2e.conftest import CommandLine
from tests.unit.catalogue.conftest import COMMITTED, Edit
from tests.unit.test_contract import MANDATED
from tools.env.repository import ROOT

SESSION = date(2021, 8, 24)
"""The day of the 24th session, 1400-06-02."""


def issues_of(folder: Path) -> list[ConfigIssue]:
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(folder)
    return list(caught.value.issues)


def only_issue(folder: Path) -> tuple[str, str, str]:
    """Return file, location and message of the only issue."""
    (issue,) = issues_of(folder)
    return issue.file, issue.location, issue.message


def test_committed_catalogue_is_complete() -> None:
    """The committed catalogue has every grant, registry and service that the resolutions name."""
    catalogue = read_catalogue(COMMITTED)

    first = [grant for grant in catalogue.grants if grant.clause.startswith("R1.")]
    assert (29, 23) == (len(catalogue.registries), len({registry.custodian for registry in catalogue.registries}))
    assert (12, 4, 6) == (len(first), len({g.consumer for g in first}), len({g.service for g in first}))
    assert 6 == len([service for service in catalogue.services if service.wire is None])
    assert all(grant.provider_agreement and grant.secretariat_consent for grant in first)


def test_committed_catalogue_invents_no_approval() -> None:
    """The committed catalogue has an approval only where a clause states it, and no unknown date of introduction."""
    catalogue = read_catalogue(COMMITTED)
    approvals = {
        (grant.clause[:2], approval.reference[:2])
        for grant in catalogue.grants
        for approval in (grant.ordered_by, grant.provider_agreement, grant.secretariat_consent)
        if approval
    }
    methods = {method.name: (method.ordered, method.introduced) for _, _, method in catalogue.methods()}

    assert {("R1", "R1"), ("R2", "R2"), ("R3", "R3")} == approvals
    assert {methods.pop(ours) for ours in ("VerifyNote", "ListChangedAnswers")} == {(None, None)}
    assert {(SESSION, None)} == set(methods.values())


def test_committed_duties() -> None:
    """Each base registry has one delivery of R5.1, owned by its custodian; every term of the resolutions is a duty."""
    catalogue = read_catalogue(COMMITTED)
    deliveries = [(duty.registry, duty.owners) for duty in catalogue.duties if duty.clause == "R5.1"]
    terms = {duty.clause: (duty.term_en, duty.due) for duty in catalogue.duties if duty.term_en}

    assert sorted((registry.slug, [registry.custodian]) for registry in catalogue.registries) == sorted(deliveries)
    assert terms == {
        "R2.0": ("session 25 of the Working Group", None),
        "R3.1": ("within one month", date(2021, 9, 24)),
        "R4.1": ("each month", None),
        "R5.1": ("within at most six months", date(2022, 2, 21)),
        "R5.2": ("within at most six months", date(2022, 2, 21)),
    }


def test_notice_of_change_is_one_figure() -> None:
    """The quality rules and the change policy demand the same notice of a method's end."""
    rules = tomllib.loads((ROOT / "rules" / "quality.toml").read_text("utf-8"))
    notices = {
        objective["at_least"]
        for rule_set in rules["set"]
        for objective in rule_set["objectives"]
        if objective["metric"] == "change_notice"
    }

    assert notices == {MIN_NOTICE.days}


def test_methods_match_the_contract() -> None:
    """The committed catalogue provides exactly the methods of the contract: the mandated ones, and ours beside them."""
    catalogue = read_catalogue(COMMITTED)

    assert {f"{service}/{method}" for service, methods in MANDATED.items() for method in methods} == {
        name for name, _, _ in catalogue.methods()
    }


def test_access_table_matches_the_sandbox() -> None:
    """The access table derived from the committed catalogue has exactly the grants of the sandbox."""
    table = access_table(read_catalogue(COMMITTED))

    expected = {(ORGANIZATIONS[name], method, clause) for name, method, clause in GRANTS}
    assert expected == {(grant.caller, grant.method, grant.clause) for grant in table.grant}


def test_provider_ids_match_the_sandbox() -> None:
    """The providers' legal ids in the committed catalogue are those in the sandbox's certificates."""
    catalogue = read_catalogue(COMMITTED)
    ids = {party.slug: party.legal_id for party in catalogue.parties}

    assert (MINISTRY, JUDICIARY) == (ids["mefa"], ids["judiciary-stat-center"])


@pytest.mark.parametrize(
    ("file", "old", "new", "location", "message"),
    [
        ("grants.yaml", "consumer: cra", "consumer: crab", "grants.0.consumer", "no party is named crab"),
        ("grants.yaml", "service: tax-debt", "service: debt", "grants.1.service", "no service is named debt"),
        (
            "grants.yaml",
            "method: CheckNote",
            "method: Check",
            "grants.12.method",
            "promissory-note-inquiry has no method Check",
        ),
        (
            "grants.yaml",
            "on: 2021-08-24",
            "on: 2021-02-30",
            "grants.0.provider_agreement.on",
            "its calendar does not have",
        ),
        ("grants.yaml", "since: 2021-08-24", "since: 1400-12-30", "grants.0.since", "its calendar does not have"),
        ("grants.yaml", "since: 2021-08-24", "since: 20210824", "grants.0.since", "is not a date"),
        (
            "grants.yaml",
            "since: 2021-08-24",
            "since: 0140-06-02",
            "grants.0.since",
            "neither Jalali",
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
            "overlaps G13: both apply to setad",
        ),
        ("grants.yaml", "id: G02", "id: G01", "grants.1.id", "G01 is used twice"),
        ("grants.yaml", "clause: R1.1", "claus: R1.1", "grants.0.clause", "is missing"),
        ("grants.yaml", "rate: 200,", "rate: 0,", "grants.12.quota.rate", "must be at least 1e-06"),
        ("grants.yaml", "    quota: { rate: 200, burst: 400, miss_cost: 20 }\n", "", "grants.12", "needs a quota"),
        (
            "grants.yaml",
            "service: tax-debt\n",
            "service: tax-debt\n    method: CheckNote\n",
            "grants.1",
            "is listed only",
        ),
        ("parties.yaml", '"99000712713"', "99000712713", "parties.20.legal_id", "must be a text"),
        ("parties.yaml", '"99000712713"', '"99001187852"', "parties.20.legal_id", "is used twice"),
        (
            "parties.yaml",
            "member_of: executive-agencies",
            "member_of: cbi",
            "parties.24.member_of",
            "not a class",
        ),
        ("parties.yaml", "is_class: true", 'legal_id: "99000079195"', "parties.24.member_of", "not a class"),
        (
            "parties.yaml",
            "is_class: true",
            'is_class: true\n    legal_id: "99000079195"',
            "parties.19.legal_id",
            "is a class, which has none",
        ),
        (
            "registries.yaml",
            "custodian: nocr",
            "custodian: nobody",
            "registries.0.custodian",
            "no party is named nobody",
        ),
        ("services.yaml", "provider: moi", "provider: mo1", "services.0.provider", "no party is named mo1"),
        (
            "services.yaml",
            "registry: tax-and-taxpayers",
            "registry: tax",
            "services.1.registry",
            "no registry is named tax",
        ),
        (
            "services.yaml",
            "ordered: 2021-08-24",
            "sunset: 2021-08-23\n        ordered: 2021-08-24",
            "services.6.methods.0.sunset",
            "is before ordered",
        ),
        ("grants.yaml", "secretariat_consent", "ordered_by", "grants.0.ordered_by", "replaces the two preconditions"),
        ("duties.yaml", "owners: [mefa]", "owners: [mofa]", "duties.0.owners.0", "no party is named mofa"),
        ("duties.yaml", "owners: [mefa]", "owners: []", "duties.0.owners", "must have 1 or more items"),
        ("duties.yaml", "registry: securities", "registry: shares", "duties.38.registry", "no registry is named"),
        ("duties.yaml", "owners: [mefa]", "owners: [mefa]\n    state: done", "duties.0.done", "has its evidence here"),
    ],
)
def test_issue_has_file_location_and_message(
    folder: Path, edit: Edit, file: str, old: str, new: str, location: str, message: str
) -> None:
    """Every kind of invalid record is reported with its file, location and message."""
    edit(file, old, new)

    found = issues_of(folder)

    assert (file, location) == (found[0].file, found[0].location)
    assert message in found[0].message


@pytest.mark.parametrize(
    ("file", "old", "new", "line"),
    [
        ("grants.yaml", "on: 2021-08-24", "on: 2021-02-30", 10),
        ("grants.yaml", "consumer: executive-agencies", "consumer: setad", 99),
        ("grants.yaml", "clause: R1.1", "claus: R1.1", 6),
        ("grants.yaml", "id: G01", "id: [", 8),
        ("parties.yaml", '"99000712713"', "x", 95),
    ],
)
def test_issue_has_line(folder: Path, edit: Edit, file: str, old: str, new: str, line: int) -> None:
    """An issue's line is that of the invalid value or, for a missing one, of its record."""
    edit(file, old, new)

    assert line == issues_of(folder)[0].line


def test_all_issues_are_reported(folder: Path, edit: Edit) -> None:
    """One read reports every issue of all files."""
    edit("grants.yaml", "consumer: cra", "consumer: crab")
    edit("registries.yaml", "custodian: nocr", "custodian: nobody")

    assert {"grants.0.consumer", "registries.0.custodian"} == {issue.location for issue in issues_of(folder)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"grants: [", "is not YAML"),
        (b"- grants", "must be a mapping"),
        (b"parties: []", "must have the key grants and no other"),
        (b"grants: []\ngrants: []", "a key must be plain text and unique in its mapping"),
        (b"grants: &a [*a]", "YAML aliases are not allowed"),
        (b"grants: " + b"[" * 20_000, "is not YAML"),
        (b"grants: " + b"x" * MAX_FILE_BYTES, "is larger than 1 MiB"),
        (b"grants: !!python/object/apply:os.system [id]", "must be"),
        (b"grants: []", "must have 1 or more items"),
        (None, "can't be read"),
    ],
)
def test_unreadable_file(folder: Path, content: bytes | None, message: str) -> None:
    """A file that is missing, oversized, not UTF-8 or not plain YAML is one clear issue."""
    (folder / "grants.yaml").unlink()
    if content is not None:
        (folder / "grants.yaml").write_bytes(content)

    file, _, found = only_issue(folder)

    assert "grants.yaml" == file
    assert message in found


def test_consecutive_grants(folder: Path, edit: Edit) -> None:
    """Two grants of one method are valid if their periods do not overlap."""
    text = (folder / "grants.yaml").read_text("utf-8")
    begin, end = text.index("  - id: G13"), text.index("  - id: G14")
    second = text[begin:end].replace("G13", "G99").replace("since: 2021-08-24", "since: 1406-01-01")
    edit("grants.yaml", text[begin:end], text[begin:end] + "    until: 1405-12-29\n")
    (folder / "grants.yaml").write_text((folder / "grants.yaml").read_text("utf-8") + second, "utf-8")

    assert 25 == len(read_catalogue(folder).grants)


def test_check_command(estelam: CommandLine, folder: Path, edit: Edit) -> None:
    """`catalogue check` exits 0 for a valid catalogue; for an invalid one it lists the issues and exits 1."""
    valid = estelam("catalogue", "check", "--catalogue", str(folder))
    edit("grants.yaml", "consumer: cra", "consumer: crab")
    plain = estelam("catalogue", "check", "--catalogue", str(folder))
    as_json = estelam("catalogue", "check", "--catalogue", str(folder), "--json")

    assert (0, 1, 1) == (valid.code, plain.code, as_json.code)
    assert f"{folder}/grants.yaml:8: grants.0.consumer: no party is named crab" in plain.err
    assert [("grants.yaml", 8, "grants.0.consumer", "no party is named crab")] == [
        (found["file"], found["line"], found["field"], found["description"]) for found in as_json.json["fields"]
    ]


def test_check_of_an_access_table(estelam: CommandLine, tmp_path: Path) -> None:
    """The command that validates a catalogue validates an access table too, before it is put in place."""
    path = tmp_path / "access.toml"
    path.write_text((ROOT / "deploy" / "promissory" / "access.toml").read_text("utf-8"), "utf-8")
    valid = estelam("catalogue", "check", "--catalogue", str(path), "--json")
    path.write_text(path.read_text("utf-8") + '[[deny]]\nkey = "lost"\n', "utf-8")
    invalid = estelam("catalogue", "check", "--catalogue", str(path))

    assert (0, True) == (valid.code, valid.json["valid"])
    assert 1 == invalid.code
    assert f"{path}: deny.0" in invalid.err
