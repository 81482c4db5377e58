"""The committed reference pages."""

import pytest

from conformance import contract_facts
from tools.commands import reference

PAGES = reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_current(name: str) -> None:
    """A committed reference page is what `make reference` writes."""
    assert PAGES[name] == (reference.FOLDER / name).read_text("utf-8")


def test_contract_facts_are_current() -> None:
    """`protos/errors.json` is what `make reference` writes."""
    assert contract_facts.text() == reference.CONTRACT_FACTS.read_text("utf-8")


def test_no_other_pages() -> None:
    """The folder holds the generated pages and no others."""
    assert set(PAGES) == {path.name for path in reference.FOLDER.iterdir()}


def test_drafts_are_current() -> None:
    """The drafts in Persian are what the rules, limits and the error catalogue say now."""
    drafts = dict(reference.drafts_in_persian())

    assert drafts == {name: (reference.DRAFTS / name).read_text("utf-8") for name in drafts}


def test_settings_have_a_meaning() -> None:
    """Every setting has a type and a meaning."""
    rows = [line.split(" | ") for line in PAGES["settings.md"].splitlines() if line.startswith("| `")]

    assert rows
    assert [] == [row[0] for row in rows if not row[-1].removesuffix(" |").strip()]
