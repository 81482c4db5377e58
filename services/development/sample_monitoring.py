"""Settings, probe requests and sample agreements for the quality process of a sandbox."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from development.files import RULES
from estelam.catalogue.model import FILES

EXCHANGE = "99002058010"  # an invented legal id with a valid check digit
AGREEMENTS = """\
agreements:
  - { id: S01, service: promissory-note-inquiry, consumer: setad, since: 1405-01-01, rules: note-standard,
      reference: sample }
  - { id: S02, service: cheque-case-inquiry, consumer: cbi, since: 1405-01-01, rules: cheque-standard,
      reference: sample }
"""
# The services' names in the catalogue, by the names of their settings sections.
SLUGS = {"promissory": "promissory-note-inquiry", "judiciary": "cheque-case-inquiry", "setad": "note-verification"}
STORING = ("promissory", "judiciary")
PROBED_AS = {"setad": "setad", "cbi": "cbi", "sample-agency": "agency"}
"""The certificate name of each consumer in the catalogue that probes run as."""

_NOTE = {"serial": "1404000000000017", "obligorId": "9990000018", "beneficiaryId": "99000554330"}
_ASKED = _NOTE | {"amountRials": "2500000000"}
PROBE_REQUESTS: dict[str, dict[str, str]] = {
    "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote": _ASKED,
    "estelam.promissory.v1.PromissoryNoteInquiryService/GetNoteParties": {
        "serial": _NOTE["serial"],
        "executiveAgencyId": "SETAD-0001",
    },
    "estelam.judiciary.v1.ChequeCaseInquiryService/CheckByNationalId": {"nationalId": "9990000050"},
    "estelam.judiciary.v1.ChequeCaseInquiryService/CheckByTrackingId": {"trackingId": "140000000000000001"},
    "estelam.setad.v1.NoteVerificationService/VerifyNote": _ASKED | {"executiveAgencyId": "SETAD-0001"},
}
"""One request per method, about a genuine ISSUED note and a recorded case of the samples."""


FEEDS = {"promissory": ["notes"], "judiciary": ["cases"]}
"""The feeds that each service with a store requires."""


def catalogue_with_agreements(folder: Path, catalogue: Path) -> None:
    """Make *folder* a view of *catalogue* (symbolic links) with the sample agreements in place of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES.values():
        shown = folder / name
        shown.unlink(missing_ok=True)
        if name == FILES["agreements"]:
            shown.write_text(AGREEMENTS, "utf-8")
        else:
            shown.symlink_to((catalogue / name).resolve())


def settings_table(*, ports: Mapping[str, int], stores: Mapping[str, str]) -> str:
    """The table [quality] of a sandbox's settings."""
    addresses = {slug: f"127.0.0.1:{ports[name]}" for name, slug in SLUGS.items() if name in ports}
    metrics = {
        slug: f"http://127.0.0.1:{ports[f'{name}-metrics']}/metrics"
        for name, slug in SLUGS.items()
        if f"{name}-metrics" in ports
    }
    top: dict[str, Any] = {
        "store": "sqlite:///quality",
        "catalogue": "quality/catalogue",
        "rules": str(RULES),
        "signing_key": "pki/quality-reports.key",
        "signing_certificates": ["pki/quality-reports.crt"],
        "reports": "quality/reports",
        "outages": "outages.toml",
        "ca_certificates": "pki/ca.crt",
        "listen": f"127.0.0.1:{ports['dashboard']}" if "dashboard" in ports else "",
        "metrics_listen": f"127.0.0.1:{ports['quality-metrics']}" if "quality-metrics" in ports else "",
    }
    lines = ["[quality]", *_pairs(top), "[quality.ledgers]", *_pairs({SLUGS[name]: stores[name] for name in STORING})]
    certificates = {SLUGS[name]: f"pki/{name}-receipts.crt" for name in STORING}
    lines += ["[quality.ledger_certificates]", *_pairs(certificates)]
    lines += ["[quality.feeds]", *_pairs({SLUGS[name]: FEEDS[name] for name in STORING})]
    lines += ["[quality.addresses]", *_pairs(addresses), "[quality.metrics]", *_pairs(metrics)]
    for consumer, name in PROBED_AS.items():
        own = {"consumer": consumer, "certificate": f"pki/{name}.crt", "private_key": f"pki/{name}.key"}
        lines += ["[[quality.probe]]", *_pairs(own)]
    for method, question in PROBE_REQUESTS.items():
        lines += [f"[quality.probe_requests.{json.dumps(method)}]", *_pairs(question)]
    return "\n".join(lines) + "\n"


def _pairs(values: Mapping[str, Any]) -> Iterable[str]:
    # For strings and lists of strings, JSON syntax is valid TOML.
    return (f"{name} = {json.dumps(value)}" for name, value in values.items())
