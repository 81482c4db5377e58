"""Export the data reference model to four files: an HTML page, CSV, JSON Schema and OpenAPI."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from estelam.core.files import write_atomic
from estelam.data_model import json_schema, openapi
from estelam.data_model.dictionary import RegistryLabel, rows, to_csv
from estelam.data_model.model import Documentation, Model, load, sensitivity_levels
from estelam.presentation.style import inline_style, without_blanks


def write(model: Model, folder: Path, registries: Mapping[str, RegistryLabel]) -> list[Path]:
    """Write *model* into *folder*, which is created if missing, and return the files.

    Raises:
        OSError: the folder or a file can't be written.
    """
    contents = {
        "index.html": render_page(model, registries),
        "dictionary.csv": to_csv(rows(model, registries)),
        "schema.json": _json(json_schema.document(model)),
    }
    for package, methods in groupby(model.methods, lambda method: method.package):
        paths = {method.http_path for method in methods}
        contents[f"openapi-{package.split('.')[1]}.json"] = _json(openapi.document(model, paths))
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        write_atomic(folder / name, text)
    return [folder / name for name in contents]


def render_page(model: Model, registries: Mapping[str, RegistryLabel]) -> str:
    """Return the dictionary as one self-contained HTML page: it loads nothing from elsewhere."""
    script = _asset("dictionary.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    rows_of = {name: list(group) for name, group in groupby(rows(model, registries), key=lambda row: row.message)}
    linked = [message.doc.full_name for message in model.messages] + [enum.doc.full_name for enum in model.enums]
    page = environment.from_string(_asset("dictionary.html.j2")).render(
        policy=content_security_policy(),
        style=Markup(_style()),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704 - a file of this package
        levels=[_level(number) for number in sorted(sensitivity_levels())],
        messages=[(message, rows_of[message.doc.full_name]) for message in model.messages],
        enums=model.enums,
        linked=linked,
        contents=_contents(model),
        registries={slug: registries.get(slug, RegistryLabel(slug, slug)) for slug in _registries(model)},
    )
    return page.replace(">\n<", "><")


def content_security_policy() -> str:
    """Return the content security policy of the page: it allows only the page's own style and script."""
    style, script = _digest(_style()), _digest(_asset("dictionary.js"))
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; font-src data:; "
        f"style-src '{style}'; script-src '{script}'"
    )


@cache
def _style() -> str:
    """Return the page's style, with the rules by which it shows the fields of one sensitivity or one registry."""
    kinds = [(_level(number)["short"], f".is-{_level(number)['short']}") for number in sorted(sensitivity_levels())]
    kinds += [(slug, f'[data-registries~="{slug}"]') for slug in _registries(load())]
    rules = (
        f'html:has([value="{value}"]:checked) :is(tr[class]:not({kind}), main > section:not(:has({kind})))'
        for value, kind in kinds
    )
    return f"{inline_style()}{without_blanks(_asset('dictionary.css'))}{','.join(rules)}{{display:none}}"


def _registries(model: Model) -> list[str]:
    return sorted({slug for _, field in model.fields() for slug in field.doc.registries})


def _contents(model: Model) -> list[tuple[str, list[Documentation]]]:
    """Return the messages and enums of each package, in the order of the page."""
    found: dict[str, list[Documentation]] = {}
    docs = [(each.package, each.doc) for each in model.messages] + [(each.package, each.doc) for each in model.enums]
    for package, doc in docs:
        found.setdefault(package, []).append(doc)
    return list(found.items())


def _level(number: int) -> dict[str, str]:
    doc = sensitivity_levels()[number]
    short = doc.name.removeprefix("SENSITIVITY_")
    return {"short": short, "fa": doc.fa, "meaning_fa": doc.meaning_fa, "meaning_en": doc.meaning_en}


def _asset(name: str) -> str:
    return (resources.files("estelam.data_model") / "templates" / name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
