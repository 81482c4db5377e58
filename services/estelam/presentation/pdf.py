"""Papers: PDF files made from data, always the same bytes for the same data, with other files attached.

They are PDF/A-3a for archives, which may hold any file, and PDF/UA-1 for screen readers. A template in Typst's language
decides what a paper looks like; it gets its texts as data, which can't be read as markup.
"""

import io
import json
import logging
import re
from collections.abc import Mapping
from importlib.resources import as_file, files
from typing import Any, Final

import typst
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from estelam.core.exceptions import UserFacingError
from estelam.presentation.style import light_colours

MAX_BYTES: Final = 10_000_000
"""A larger PDF file is not read."""


logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # of a damaged file it prints a line for each object

# What is in no font, and vowel signs of Arabic after letters of other scripts: with them Typst ends in an error.
_UNPRINTABLE = re.compile(
    r"[^\n -~\u00a0-\u017f\u0370-\u0377\u037a-\u037f\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u045f\u060c\u061b\u061f"
    r"\u0621-\u063a\u0640-\u0655\u0660-\u066c\u0670\u067e\u0686\u0698\u06a9\u06af\u06c0\u06cc\u06d5\u06f0-\u06f9"
    r"\u200b-\u2015\u2018-\u201e\u2022\u2026\u202a-\u202e\u2032\u2033\u2039\u203a\u2066-\u2069\u2190-\u2193\u2212"
    r"\u2260\u2264\u2265\u2713\u2715\u2717\ufdfc]"
    r"|(?<![\u0621-\u06d5])[\u064b-\u0655\u0670]"
)


class PaperError(UserFacingError):
    """A paper can't be made."""


class NotAPaperError(Exception):
    """A file is no PDF that has the wanted attachment exactly once."""


def typeset(template: str, data: Mapping[str, Any], **attached: bytes) -> bytes:
    """Return the paper that *template* makes of *data* and of further files.

    Args:
        template: Typst markup; it imports `paper.typ` and reads `data.json`, which also has the light colours.
        data: What `data.json` holds; in texts, a character that the fonts do not have is escaped.
        **attached: Further files by name, each of UTF-8 text; an underscore stands for the dot.

    Raises:
        PaperError: it can't be made.
    """
    here = files(__package__)
    content = json.dumps({**_printable(data), "colours": light_colours()}, ensure_ascii=False).encode()
    sources = {
        "main.typ": template.encode(),
        "paper.typ": (here / "papers" / "paper.typ").read_bytes(),
        "data.json": content,
        **{name.replace("_", "."): value for name, value in attached.items()},
    }
    with as_file(here / "fonts") as fonts:
        try:
            made: bytes = typst.compile(  # type: ignore[call-overload]  # its stubs lack a mapping of files
                sources,
                font_paths=[fonts],
                ignore_system_fonts=True,
                format="pdf",
                pdf_standards=["a-3a", "ua-1"],
            )
        except typst.TypstError as error:
            raise PaperError(f"the paper can't be made: {error}") from None
    return made


def _printable(value: Any) -> Any:
    """Return *value* with the escapes of Python for each character of its texts that a paper can't show."""
    if isinstance(value, str):
        return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), value)
    if isinstance(value, Mapping):
        return {name: _printable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(each) for each in value]
    return value


def attachment_of(content: bytes, name: str) -> bytes:
    """Return the content of the attachment *name* of a PDF file with this *content*.

    Raises:
        NotAPaperError: it is larger than MAX_BYTES, is damaged, or does not have that attachment exactly once.
    """
    if len(content) > MAX_BYTES:
        raise NotAPaperError
    try:
        [found] = PdfReader(io.BytesIO(content), strict=True).attachments[name]
    # A damaged file makes the reader raise errors of many kinds.
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise NotAPaperError from None
    return bytes(found)
