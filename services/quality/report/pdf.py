"""The report as a PDF: made of its HTML page, so that both state the same figures and show the same charts."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any, Final

from estelam.presentation import pdf
from estelam.presentation.style import light_colours
from quality.evaluation.report_model import Report
from quality.periods import Month
from quality.report.i18n import Localizer

_VOID: Final = {"meta", "br"}
_LEFT_OUT: Final = {"head", "a"}
_CHART_RULE = re.compile(r"(?:\.chart|\.line)[^{]*\{[^}]*\}")


def render_pdf(page: bytes, report: Report, language: str, figures: bytes) -> bytes:
    """Return *page*, the report's HTML page in *language*, as PDF/A with *figures*, `figures.json`, attached.

    Raises:
        PaperError: it can't be made.
    """
    l10n = Localizer(language)
    reader = _Reader()
    reader.feed(page.decode())
    data = {
        "language": language,
        "title": f"{l10n('title')} – {l10n.month(Month.parse(report.month))} – {l10n.name(report.reader)}",
        "author": l10n("exchange"),
        "date": list(report.issued.timetuple()[:6]),
        "footer": l10n("exchange"),
        "body": reader.root["children"],
    }
    template = (files(__package__) / "templates" / "report.typ").read_text("utf-8")
    charts = {f"chart{number}_svg": chart for number, chart in enumerate(reader.charts)}
    return pdf.typeset(template, data, figures_json=figures, **charts)


class _Reader(HTMLParser):
    """Reads a page as a tree of elements, each with its tag, classes, span and children; a chart is its number."""

    def __init__(self) -> None:
        super().__init__()
        self.root = _element("root", {})
        self.charts: list[bytes] = []
        self._open = [self.root]
        self._chart: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        if tag == "svg":
            self._chart = []
        if self._chart is not None:
            text = self.get_starttag_text() or ""
            self._chart.append(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
            if tag == "svg":
                self._chart.append(_chart_style())
                self._add({"tag": "chart", "number": len(self.charts), "label": dict(attrs).get("aria-label")})
            return
        if tag == "br":
            self._add("\n")
        if tag not in _VOID:
            self._open.append(_element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        if self._chart is not None:
            self._chart.append(f"</{tag}>")
            if tag == "svg":
                self.charts.append("".join(self._chart).encode())
                self._chart = None
        elif tag not in _VOID:
            found = self._open.pop()
            if tag not in _LEFT_OUT and "visually-hidden" not in found["classes"]:
                self._add(found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Add an element without content; within a chart as it is."""
        if self._chart is not None:
            self._chart.append(self.get_starttag_text() or "")
        else:
            super().handle_startendtag(tag, attrs)

    def handle_data(self, data: str) -> None:
        """Add a text; white space between blocks is none."""
        if self._chart is not None:
            self._chart.append(data.replace("&", "&amp;").replace("<", "&lt;"))
        elif data.strip():
            self._add(re.sub(r"[ \n]+", " ", data))

    def _add(self, child: Any) -> None:
        self._open[-1]["children"].append(child)


def _element(tag: str, attributes: dict[str, str | None]) -> dict[str, Any]:
    classes = (attributes.get("class") or "").split()
    return {"tag": tag, "classes": classes, "span": int(attributes.get("colspan") or 1), "children": []}


def _chart_style() -> str:
    """Return the rules of `report.css` for charts as an SVG style, with the light colours in place of their names."""
    css = (files(__package__) / "templates" / "report.css").read_text("utf-8")
    rules = " ".join(_resolved(css))
    return f"<style>text {{ font-family: Vazirmatn; }} {rules}</style>"


def _resolved(css: str) -> Iterator[str]:
    colours = light_colours()
    for rule in _CHART_RULE.findall(css):
        yield re.sub(r"var\(--([a-z-]+)\)", lambda name: colours[name[1].replace("-", "_")], rule)
