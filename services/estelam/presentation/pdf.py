"""Papers: PDF files made from data, always the same bytes for the same data, with other files attached.

They are PDF/A-3a for archives, which may hold any file, and PDF/UA-1 for screen readers. A template in Typst's language
decides what a paper looks like; it gets its texts as data, which can't be read as markup.
"""

import io
import json
import logging
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import segno
import typst
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from estelam.core.exceptions import UserFacingError
from estelam.presentation.style import light_colours

MAX_BYTES: Final = 10_000_000
"""A larger PDF file is not read."""


logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # of a damaged file it prints a line for each object


class PaperError(UserFacingError):
    """A paper can't be made."""


class NotAPaperError(Exception):
    """A file is no PDF that has the wanted attachment exactly once."""


def typeset(template: str, data: Mapping[str, Any], **attached: bytes) -> bytes:
    """Return the paper that *template* makes of *data* and of further files.

    Args:
        template: Typst markup; it imports `paper.typ` and reads `data.json`, which also has the light colours.
        data: What `data.json` holds.
        **attached: Further files by name, each of UTF-8 text; an underscore stands for the dot.

    Raises:
        PaperError: a text has a character that the fonts do not have.
    """
    here = files(__package__)
    content = json.dumps({**data, "colours": light_colours()}, ensure_ascii=False).encode()
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


def qr_code(text: str) -> bytes:
    """Return *text* as a QR code in SVG, of the level that survives damage of a seventh."""
    out = io.BytesIO()
    segno.make(text, error="m", micro=False).save(out, kind="svg", xmldecl=False, border=0)
    return out.getvalue()


def read_attachment(path: Path, name: str) -> tuple[bytes, bytes]:
    """Return the file *path*, a PDF, and the content of its attachment *name*.

    Raises:
        NotAPaperError: it is larger than MAX_BYTES, is damaged, or does not have that attachment exactly once.
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise NotAPaperError
    try:
        [found] = PdfReader(io.BytesIO(content), strict=True).attachments[name]
    # A damaged file makes the reader raise errors of many kinds.
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise NotAPaperError from None
    return content, found
