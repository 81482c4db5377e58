"""A service of `estelam dev --sandbox`: the real one, with the results of the sandbox's numbers.

The look-ups of some numbers find another coverage than the declared one (`with_coverage`), and what no data can bring
about happens around the steps that look up and record (`FaultyBackend`). Nothing else differs from the real service,
over gRPC or JSON.

No service imports this package, and no setting leads here: only `estelam dev --sandbox` starts this module as a
process. It refuses a signing certificate without the mark that `sandbox.mark` makes, so that its receipts name a ledger
of a sandbox.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf.message_factory import GetMessageClass

from development.sandbox import require_mark
from development.sandbox_numbers import FIELDS, Fault, SandboxNumber, read
from estelam.auth.grants import Quota
from estelam.auth.rate_limit import TokenBucket, acquire
from estelam.cli.serve import run
from estelam.core.contract import find_method
from estelam.core.errors import Reason, Refusal
from estelam.core.model import Answer, Inquiry, LookupResult
from estelam.pipeline.handler import AnswerBackend, Notify
from estelam.pipeline.recorder import Lookup, LookupContext
from estelam.pipeline.timers import Timers
from estelam.receipts.receipt import canonical
from estelam.server.file_check import check_store_files
from estelam.server.process import run_until_shutdown
from estelam.server.service import run_recording_service
from estelam.storage.coverage import Coverage
from judiciary.methods import LOOKUPS
from judiciary.recall import CaseRecallSource
from judiciary.settings import JudiciarySettings
from promissory.methods import lookups
from promissory.recall import NoteRecallSource
from promissory.settings import PromissorySettings
from sataad_adapter import service as adapter
from sataad_adapter.settings import SetadSettings

Done = Callable[[Answer | Exception], None]

_NUMBERS = read().by_number()
_BEYOND_MAX_AGE = timedelta(hours=1)
_DRAINED = Quota(rate=1 / 30, burst=1)
_POLICY = "sandbox"
"""The name of the quota that is always exhausted; the caller's own one is another."""


def number_of(inquiry: Inquiry) -> SandboxNumber | None:
    """Return the sandbox's number in the request of *inquiry*; None if it has none."""
    return next(filter(None, (_NUMBERS.get(getattr(inquiry.request, field, "")) for field in FIELDS)), None)


def with_coverage(lookup: Lookup) -> Lookup:
    """Return *lookup*, in which the inquiries about some numbers find another coverage than the declared one."""

    def look_up(context: LookupContext, inquiries: Sequence[Inquiry]) -> list[LookupResult | Refusal]:
        groups: dict[str | None, list[Inquiry]] = {}
        for inquiry in inquiries:
            number = number_of(inquiry)
            groups.setdefault(number.coverage if number else None, []).append(inquiry)
        found = {
            inquiry.id: result
            for kind, group in groups.items()
            for inquiry, result in zip(group, lookup(_context(context, kind), group), strict=True)
        }
        return [found[inquiry.id] for inquiry in inquiries]

    return look_up


def _context(context: LookupContext, kind: str | None) -> LookupContext:
    def read_coverage() -> Coverage | None:
        declared = context.coverage
        if declared is None or kind == "undeclared":
            return None
        if kind == "unlinked":
            return replace(declared, tracking_since=None)
        return replace(declared, as_of=context.now - context.max_staleness - _BEYOND_MAX_AGE)

    return replace(context, read_coverage=read_coverage) if kind else context


class FaultyBackend:
    """Passes inquiries to *backend*, except that those about some numbers end with a fault.

    Args:
        backend: What answers them.
        timers: End the inquiries whose answer is late.
        fault_of: Returns the fault of a number.
    """

    def __init__(
        self, backend: AnswerBackend, timers: Timers, fault_of: Callable[[SandboxNumber], Fault | None]
    ) -> None:
        self._backend = backend
        self._timers = timers
        self._fault_of = fault_of
        self.record_refusal = backend.record_refusal

    def answer(self, inquiry: Inquiry, seconds: float, done: Done) -> Notify:
        """Pass an answer, or the fault of the number that *inquiry* is about, to *done*.

        Raises:
            Refusal: the fault is one, or the backend refuses.
        """
        number = number_of(inquiry)
        match number and self._fault_of(number):
            case "quota-exhausted":
                acquire(TokenBucket(_DRAINED, [0.0, 0.0]), _POLICY)
            case "overload":
                raise Refusal(Reason.OVERLOADED)
            case "store-down":
                raise Refusal(Reason.STORE_UNAVAILABLE)
            case "provider-down":
                raise Refusal(Reason.PROVIDER_UNAVAILABLE)
            case "late":  # looked up and recorded, but not within the time
                abandon = self._backend.answer(inquiry, seconds, lambda _result: None)
                timer = self._timers.after(seconds, partial(done, Refusal(Reason.ANSWER_LATE)))
                return partial(_call_each, abandon, timer.cancel)
            case "bad-receipt":
                done = _changing(inquiry, _spoil_receipt, done)
            case "unspecified":
                done = _changing(inquiry, lambda reply: reply.ClearField("answer"), done)
        return self._backend.answer(inquiry, seconds, done)


def _call_each(*functions: Notify) -> None:
    for function in functions:
        function()


def _changing(inquiry: Inquiry, change: Callable[[Any], None], done: Done) -> Done:
    """Return *done* for answers whose reply *change* has changed after they were recorded."""

    def changed(result: Answer | Exception) -> None:
        if isinstance(result, Answer):
            reply = GetMessageClass(find_method(inquiry.method.name).output_type).FromString(result.reply)
            change(reply)
            result = result._replace(reply=canonical(reply))
        done(result)

    return changed


def _spoil_receipt(reply: Any) -> None:
    """Change a bit of the salt, so that the receipt commits to another question and answer."""
    receipt = reply.receipt if hasattr(reply, "receipt") else reply.check_receipt
    receipt.salt = bytes([receipt.salt[0] ^ 1]) + receipt.salt[1:]


def _at_provider(backend: AnswerBackend, timers: Timers) -> AnswerBackend:
    return FaultyBackend(backend, timers, lambda number: number.fault)


def _at_setad(backend: AnswerBackend, timers: Timers) -> AnswerBackend:
    return FaultyBackend(backend, timers, lambda number: number.fault_at_setad)


def open_recording(settings: PromissorySettings | JudiciarySettings, **options: Any) -> Any:
    """Return the context manager that runs the promissory or judiciary service of a sandbox.

    Raises:
        ServerError: a signing certificate is not of a sandbox.
    """
    require_mark(settings.signing_certificates)
    methods = lookups(settings) if isinstance(settings, PromissorySettings) else LOOKUPS
    found = {method: with_coverage(lookup) for method, lookup in methods.items()}
    facts = NoteRecallSource() if isinstance(settings, PromissorySettings) else CaseRecallSource()
    return run_recording_service(settings, found, facts, wrap_backend=_at_provider, **options)


def open_adapter(settings: SetadSettings, **options: Any) -> Any:
    """Return the context manager that runs Setad's adapter of a sandbox.

    Raises:
        ServerError: a certificate that receipts are verified with is not of a sandbox.
    """
    require_mark(settings.provider_certificates)
    return adapter.run_adapter(settings, wrap_backend=_at_setad, **options)


def _main(service: Callable[[Any], Any], check: Callable[[Any], object]) -> Callable[..., None]:
    def main(load: Callable[[], Any], port_file: Path | None = None) -> None:
        run_until_shutdown(load, service, check=check, port_file=port_file)

    return main


SERVICES: Mapping[str, Callable[..., None]] = {
    "promissory": partial(run, PromissorySettings, _main(open_recording, check_store_files)),
    "judiciary": partial(run, JudiciarySettings, _main(open_recording, check_store_files)),
    "setad": partial(run, SetadSettings, _main(open_adapter, adapter.check_files)),
}
"""How each service is run."""


def main() -> None:
    """Serve as the arguments say, which are those of `estelam SERVICE serve`."""
    parser = argparse.ArgumentParser(description=f"A service of `estelam dev --sandbox`: {', '.join(SERVICES)}.")
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("--listen")
    parser.add_argument("--port-file", type=Path)
    given = parser.parse_args()
    SERVICES[given.service](listen=given.listen, port_file=given.port_file, workers=1, as_json=False)


if __name__ == "__main__":
    main()
