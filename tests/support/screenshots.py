"""Screenshots of pages, compared with committed references: scaled down, so that the rendering of fonts may differ."""

import base64
import os
from pathlib import Path

from playwright.sync_api import Browser, Page

REFERENCES = Path(__file__).resolve().parents[1] / "references"
IS_UPDATED = os.environ.get("UPDATE_SCREENSHOTS") == "1"
"""Whether the references are written anew, in place of being compared."""
MOST_DIFFERENT = 0.01
"""The greatest share of the pixels of a scaled screenshot that may differ from its reference."""
_SCALE = """async ([shot, reference, quality]) => {
  const image = async (data) => { const one = new Image(); one.src = data; await one.decode(); return one; };
  const draw = (one, width, height) => {
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(one, 0, 0, width, height);
    return canvas;
  };
  const pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const taken = await image(shot);
  const small = draw(taken, taken.width, taken.height);
  if (!reference) return small.toDataURL("image/webp", quality);
  const known = await image(reference);
  if (known.width !== small.width || Math.abs(known.height - small.height) > 0.03 * known.height) return 1;
  const [a, b] = [pixels(draw(known, small.width, small.height)), pixels(small)];
  let differing = 0;
  for (let at = 0; at < a.length; at += 4)
    if (Math.abs(a[at] - b[at]) > 40 || Math.abs(a[at + 1] - b[at + 1]) > 40 || Math.abs(a[at + 2] - b[at + 2]) > 40)
      differing++;
  return differing / (a.length / 4);
}"""


class Screenshots:
    """Compares pages with the references, in one more page of *browser*."""

    def __init__(self, browser: Browser) -> None:
        self._page = browser.new_page()

    def differs(self, page: Page, name: str) -> bool:
        """Return whether *page* looks different from the reference *name*; an update writes it, and nothing differs."""
        page.evaluate("document.fonts.ready")
        shot = _taken(page)
        path = REFERENCES / f"{name}.webp"
        if IS_UPDATED:
            path.parent.mkdir(parents=True, exist_ok=True)
            made = str(self._page.evaluate(_SCALE, [shot, None, 0.7]))
            path.write_bytes(base64.b64decode(made.partition(",")[2]))
            return False
        reference = _data("webp", path.read_bytes())
        return float(self._page.evaluate(_SCALE, [shot, reference, 0])) > MOST_DIFFERENT


def _taken(page: Page) -> str:
    """Return the whole *page* at a quarter of its size."""
    root = "document.documentElement"
    width, height = page.evaluate(f"[{root}.clientWidth, {root}.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 0.25}
    session = page.context.new_cdp_session(page)
    how = {"format": "jpeg", "quality": 90, "captureBeyondViewport": True, "clip": clip}
    taken = session.send("Page.captureScreenshot", how)
    session.detach()
    return f"data:image/jpeg;base64,{taken['data']}"


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
