"""The style that every page links and every single-file document contains: design tokens and the font."""

import base64
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

FONT: Final = "vazirmatn-33.0.3.woff2"
"""The font's file in `fonts`; its name changes with its content, so that browsers may keep it."""
DOCUMENT_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; font-src data:"
"""The content security policy of a document in one file: it loads nothing and runs nothing."""

_NEEDLESS: Final = re.compile(r"(?P<string>\"[^\"]*\")|/\*.*?\*/\s*|\s*(?P<mark>[{};,])\s*|(?P<colon>:)\s+", re.DOTALL)


@cache
def inline_style() -> str:
    """Return the design tokens with the font inside, for a document in one file."""
    tokens = without_blanks((files(__package__) / "static" / "tokens.css").read_text("utf-8"))
    before, name, after = tokens.partition(f"url({FONT})")
    if not name:
        raise ValueError(f"tokens.css: does not name the font {FONT}")
    return f"{before}url({font_url()}){after}"


@cache
def font_url() -> str:
    """Return the font as a `data:` URL."""
    font = base64.b64encode((files(__package__) / "fonts" / FONT).read_bytes()).decode("ascii")
    return f"data:font/woff2;base64,{font}"


def without_blanks(css: str) -> str:
    """Return *css* without comments and needless blanks, for a document in one file; strings stay as they are."""
    return _NEEDLESS.sub(lambda found: found["string"] or found["mark"] or found["colon"] or "", css).strip()


@cache
def light_colours() -> Mapping[str, str]:
    """Return the colours on light ground by their names without hyphens, as #rrggbb or #rgb."""
    tokens = (files(__package__) / "static" / "tokens.css").read_text("utf-8")
    light = tokens.partition(":root {")[2].partition("}")[0]
    return {name.replace("-", "_"): value for name, value in re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", light)}
