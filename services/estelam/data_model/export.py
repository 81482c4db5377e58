"""Export of the data reference model: one page, CSV, JSON Schema and OpenAPI, each a file of its own."""

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from estelam.data_model import json_schema, openapi
from estelam.data_model.dictionary import RegistryLabel, rows, to_csv
from estelam.data_model.model import Model, sensitivity_levels


def write(model: Model, folder: Path, registries: Mapping[str, RegistryLabel]) -> list[Path]:
    """Write every form of *model* into *folder*, which is made if need be.

    Raises:
        OSError: it can't be written.
    """
    forms = {
        "index.html": render_page(model, registries),
        "dictionary.csv": to_csv(list(rows(model, registries))),
        "schema.json": _json(json_schema.document(model)),
        "openapi.json": _json(openapi.document(model)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in forms.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return [folder / name for name in forms]


def render_page(model: Model, registries: Mapping[str, RegistryLabel]) -> str:
    """The dictionary as one page that needs nothing else: no server, no network; its own script and style alone run."""
    style, script = _asset("dictionary.css"), _asset("dictionary.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    found = {name: list(made) for name, made in groupby(rows(model, registries), key=lambda row: row.message)}
    names = [message.doc.full_name for message in model.messages] + [enum.doc.full_name for enum in model.enums]
    return environment.from_string(_asset("dictionary.html.j2")).render(
        policy=content_security_policy(),
        style=Markup(style),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        levels=[_level(number) for number in sorted(sensitivity_levels())],
        messages=[(message, found[message.doc.full_name]) for message in model.messages],
        enums=model.enums,
        linked=names,
    )


def content_security_policy() -> str:
    """The content security policy of the page: its own style and script, and nothing else."""
    style, script = _digest(_asset("dictionary.css")), _digest(_asset("dictionary.js"))
    return f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src '{style}'; script-src '{script}'"


def _level(number: int) -> dict[str, str]:
    told = sensitivity_levels()[number]
    short = told.name.removeprefix("SENSITIVITY_")
    return {"short": short, "fa": told.fa, "meaning_fa": told.meaning_fa, "meaning_en": told.meaning_en}


def _asset(name: str) -> str:
    return (resources.files("estelam.data_model") / "templates" / name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
