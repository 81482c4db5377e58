"""Links between the documentation's pages lead somewhere, and every page is reachable."""

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])

_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def prose(page: Path) -> str:
    """The text of *page* without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def targets(page: Path) -> list[tuple[Path, str]]:
    """The file and the anchor of each relative link in *page*."""
    links = [link for link in _LINK.findall(prose(page)) if "://" not in link and not link.startswith("mailto:")]
    split = [unquote(link).partition("#") for link in links]
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in split]


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of *page*, as GitHub makes them."""
    found: Counter[str] = Counter()
    names = set()
    for heading in _HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower().replace("\u200c", "")).replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Every relative link of a page names a file of the repository, and an anchor that the file has."""
    missing = [str(path) for path, _ in targets(page) if not path.exists()]
    unanchored = [
        f"{path.relative_to(ROOT)}#{anchor}"
        for path, anchor in targets(page)
        if anchor and path.suffix == ".md" and path.exists() and anchor not in anchors(path)
    ]

    assert missing == []
    assert unanchored == []


def test_every_file_of_the_docs_is_linked() -> None:
    """Every page and picture below docs/ is reachable by links from the README."""
    reached, queue = {ROOT / "README.md"}, [ROOT / "README.md"]
    while queue:
        for path, _ in targets(queue.pop()):
            if path not in reached and path.exists():
                reached.add(path)
                if path.suffix == ".md":
                    queue.append(path)
    files = {path for path in DOCS.rglob("*") if path.is_file()}

    assert {str(path.relative_to(ROOT)) for path in files - reached} == set()
