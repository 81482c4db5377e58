"""QR codes as SVG."""

import segno

QUIET_ZONE = 4
"""The width of the margin that a reader needs, in modules."""


def qr_code(text: str, *, border: int = QUIET_ZONE) -> str:
    """Return *text* as a QR code in SVG without a size, of the level that survives damage of a seventh.

    Args:
        text: What a reader gets.
        border: The width of the margin in modules: 0 where the surroundings leave it free.
    """
    code: str = segno.make(text, error="m", micro=False).svg_inline(
        omitsize=True, svgclass="qr", lineclass=None, border=border
    )
    return code
