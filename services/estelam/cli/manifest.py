"""The command `estelam load manifest`, which needs the extra `loading`."""

from datetime import date
from importlib import import_module
from pathlib import Path

from estelam.cli import output
from estelam.cli.load import parse_feed
from estelam.cli.stores import kinds
from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.exceptions import UsageError
from estelam.core.files import write_atomic
from estelam.core.parties import Parties
from estelam.loading.feed import Feed
from estelam.loading.manifest import Manifest, identify, manifest_path, sign, signature_path
from estelam.loading.reader import count_rows


def _kinds(name: str) -> list[Feed]:
    """Return the kinds of file that the feed *name* may be of: that of this name, or else all."""
    every: list[Feed] = [feed for kind in kinds().values() for feed in import_module(kind.FEEDS).FEEDS]
    return [feed for feed in every if feed.name == name] or every


def write_manifest(
    file: Path,
    *,
    feed: str,
    number: int,
    cut_at: str,
    whole: bool,
    since: str | None,
    tracking_since: str | None,
    parties: Parties | None,
    sign_key: Path | None,
    as_json: bool,
) -> None:
    """Write the manifest of *file*, and its signature if a key is given."""
    now = Clock().now()

    def parse_since(option: str, text: str | None) -> date | None:
        if text is None:
            return None
        return output.parse_option(option, text, lambda text: dates.parse_since(text, now), as_json=as_json)

    path = manifest_path(file)
    with output.user_errors(as_json=as_json):
        output.check_readable(file)
        if path.exists():
            raise UsageError(f"{path}: exists; remove it first if it is to be written anew")
        manifest = Manifest(
            feed=parse_feed(feed),
            number=number,
            kind="whole" if whole else "delta",
            cut_at=output.parse_option("--cut-at", cut_at, dates.parse_instant, as_json=as_json),
            complete_since=parse_since("--since", since),
            tracking_since=parse_since("--tracking-since", tracking_since),
            parties=parties,
            rows=count_rows(file, _kinds(feed)),
            sha256=identify(file).sha256,
        )
        content = manifest.content()
        signature = sign(content, sign_key) if sign_key else None
        if signature:
            write_atomic(signature_path(path), signature)
        write_atomic(path, content)
    facts = {"manifest": str(path), "signature": str(signature_path(path)) if signature else None}
    output.print_record(facts | manifest.model_dump(), as_json=as_json)
