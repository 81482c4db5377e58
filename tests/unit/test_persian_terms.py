"""Persian texts use the terms of the resolutions and of the glossary, each always the same one."""

import re
import subprocess

import pytest

from tools.commands.generate_protos import ROOT

FILES = subprocess.run(
    ["git", "ls-files", "--", "protos/*.proto", "services/*", "catalogue/*", "rules/*", "docs/*.md", "README.md"],
    cwd=ROOT,
    check=True,
    capture_output=True,
    text=True,
).stdout.splitlines()
QUOTED = re.compile("«[^»]*»|text_fa:.*")
"""The resolutions' own words keep their spelling."""
TERMS = {
    "خدمت.?(دهند|گیرند)": "سرویس‌دهنده، سرویس‌گیرنده",
    "ذینفع": "ذی‌نفع",
    "درهم.?ساز": "چکیده",
    "کاتالوگ": "فهرست سرویس‌ها و مجوزها",
    "کد ملی": "شماره ملی",
    "پشت.?نویسی": "ظهرنویسی",
    "تبعه خارجی": "شخص خارجی",
    "بی.?(ذکر|رسید|افتادگی|مجوز|سفته|دعوا|پرونده|شماره|تلفن|فاصله|نیاز)": "بدون …",
    "می.?گشاید": "امکان استفاده … را فراهم می‌کند",
    "سر زنجیر": "آخرین بلوک زنجیره دفتر",
    "سطح خدمت(?!ات)": "سطح خدمات",
    "بپرس": "استعلام کنید",
    "چنان که": "مطابق",
    "پرسنده": "استعلام‌کننده",
    "هٔ|ۀ": "ه",
    "[\u0620-\u06d3], ": "،",
}


def persian_lines() -> list[tuple[str, str]]:
    """Return every line with Persian text in our own words, with its place."""
    found = []
    for name in FILES:
        path = ROOT / name
        if path.suffix not in {".proto", ".py", ".toml", ".html", ".yaml", ".md", ".j2"} or "_pb2" in name:
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.search("[\u0600-\u06ff]", line):
                found.append((f"{name}:{number}", QUOTED.sub("", line)))
    return found


LINES = persian_lines()


@pytest.mark.parametrize(("wrong", "right"), TERMS.items(), ids=TERMS.values())
def test_term(wrong: str, right: str) -> None:
    """No Persian text in our own words has a term that the glossary has another word for."""
    found = [
        place for place, line in LINES if re.search(wrong, line) and "در مصوبه" not in line and "در بند" not in line
    ]

    assert found == [], f"write {right}"
