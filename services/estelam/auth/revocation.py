"""Revocation of client certificates by the certificate revocation lists (CRL, RFC 5280) of their authorities.

A certificate passes only if every authority in its chain has a current list here and none of the lists names it. What
can't be decided is refused, never passed: a list that has run out, an authority without a list, a chain that can't be
followed. A file that can't be used, or an older list than was in force before, prevents the start; later it leaves the
lists in force, until they run out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from estelam.auth.certificate import ClientCertificate
from estelam.auth.kept_lists import MAX_NUMBER_BITS, ListPosition, keep, read_kept
from estelam.core.clock import CLOCK_TOLERANCE, Clock, to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import named_error, problem
from estelam.core.keys import key_fingerprint
from estelam.core.pem import KeyFileError, name_text, read_certificates, read_crls
from estelam.core.reload import FileReloader

log = structlog.get_logger()

_TOLERANCE_MICROS = int(CLOCK_TOLERANCE.total_seconds() * 1e6)
_UNDERSTOOD = {x509.AuthorityKeyIdentifier.oid, x509.CRLNumber.oid}
# A list of some certificates, of another authority's, or of changes only, would pass what it does not cover.
_INCOMPLETE = {x509.IssuingDistributionPoint.oid, x509.DeltaCRLIndicator.oid}


@dataclass(frozen=True, slots=True)
class IssuerList:
    """The newest revocation list of one authority."""

    serials: frozenset[int]
    authority: str
    """Its name."""
    position: ListPosition
    next_update_micros: int

    def is_current(self, now_micros: int) -> bool:
        """Whether the list is in force at *now_micros* (microseconds since 1970)."""
        return self.has_begun(now_micros) and now_micros <= self.next_update_micros

    def has_begun(self, now_micros: int) -> bool:
        """Whether the list's thisUpdate is not after *now_micros* (microseconds since 1970)."""
        return self.position.this_update_micros - _TOLERANCE_MICROS <= now_micros


class Revocation:
    """Checks client certificates against the *lists* (files), each of an authority in *authorities* (PEM).

    Files are read again within a second of a change. Without any file, no certificate is revoked. Which list of each
    authority was the newest in force is stored in the file *kept*, if that is given.

    Raises:
        KeyFileError: a file can't be used, or holds an older list than was in force before.
        OSError: a file can't be read, or *kept* can't be written.
    """

    def __init__(self, lists: Sequence[Path], authorities: Path, clock: Clock, *, kept: Path | None = None) -> None:
        self._lists = lists
        self._authorities = authorities
        self._clock = clock
        self._kept = kept
        self._newest: Mapping[str, ListPosition] = {}
        """The newest list of each authority that was in force, as far as this process knows."""
        files = (*lists, authorities)
        self._reloader = FileReloader(
            lambda: files, self._load, failed=_log_unreadable, interval_seconds=1.0, monotonic=clock.monotonic
        )
        if lists:
            self._reloader.refresh()

    def check(self, certificate: ClientCertificate) -> None:
        """Check that *certificate*, and each authority in its chain, is not revoked now.

        Raises:
            Refusal: CERTIFICATE_REVOKED, or REVOCATION_UNKNOWN if that can't be decided.
        """
        if not self._lists:
            return
        lists, now, chain = self._current(), self._clock.micros(), certificate.issued_serials
        if any(issuer in lists and serial in lists[issuer].serials for issuer, serial in chain):
            raise Refusal(Reason.CERTIFICATE_REVOKED)
        if not chain or not all(issuer in lists and lists[issuer].is_current(now) for issuer, _ in chain):
            raise Refusal(Reason.REVOCATION_UNKNOWN)

    def expires_at(self) -> float:
        """Return when the first list runs out, in seconds since 1970."""
        return min(one.next_update_micros for one in self._reloader.value.values()) / 1e6

    def is_current(self) -> bool:
        """Return whether the newest state of the lists is in force."""
        self._current()
        return self._reloader.is_current

    def _current(self) -> Mapping[str, IssuerList]:
        self._reloader.refresh()
        return self._reloader.value

    def _load(self) -> Mapping[str, IssuerList]:
        authorities = read_certificates(self._authorities)
        lists = read_lists(self._lists, authorities)
        self._require_newest(lists)
        self._keep(lists)
        log.info("revocation.loaded", lists=len(lists), revoked=sum(len(one.serials) for one in lists.values()))
        return lists

    def _require_newest(self, lists: Mapping[str, IssuerList]) -> None:
        if self._kept and not self._reloader.is_loaded:
            self._newest = read_kept(self._kept)
        for issuer, found in lists.items():
            if (newest := self._newest.get(issuer)) and found.position.is_before(newest):
                advice = f"; if it took that one back, remove its entry from {self._kept} and restart"
                raise KeyFileError(
                    f"the revocation list of {found.authority} ({found.position}) is older than the one that was in "
                    f"force ({newest}); fetch its newest list{advice if self._kept else ''}"
                )

    def _keep(self, lists: Mapping[str, IssuerList]) -> None:
        """Note the *lists* that have begun: one that is dated ahead by mistake must not exclude the right one."""
        now = self._clock.micros()
        begun = {issuer: one for issuer, one in lists.items() if one.has_begun(now)}
        self._newest = {**self._newest, **{issuer: one.position for issuer, one in begun.items()}}
        if self._kept is None:
            return
        try:
            keep(self._kept, {issuer: (one.authority, one.position) for issuer, one in begun.items()})
        except (OSError, KeyFileError) as error:
            if not self._reloader.is_loaded:
                raise
            # A new list, which may revoke a certificate, must not wait for the disk.
            log.error("revocation.keep_failed", error=type(error).__name__, problem=problem(error))


def _log_unreadable(error: Exception) -> None:
    # The lists in force stay so: a wrong file must neither open nor close. They run out by themselves.
    log.error("revocation.unreadable", error=type(error).__name__, problem=problem(error))


def read_lists(files: Sequence[Path], authorities: Sequence[x509.Certificate]) -> dict[str, IssuerList]:
    """Return the newest list of each authority by the fingerprint of its key.

    Raises:
        KeyFileError: a file holds no list, or one that is partial, damaged, or not of *authorities*.
        OSError: a file can't be read.
    """
    lists: dict[str, IssuerList] = {}
    for path in files:
        for crl in read_crls(path):
            with named_error(KeyFileError, f"{path}: is damaged; fetch the file again"):
                issuer = key_fingerprint(_issuer(path, crl, authorities).public_key())
                found = _issuer_list(path, crl)
            if issuer not in lists or lists[issuer].position.is_before(found.position):
                lists[issuer] = found
    return lists


def _issuer(
    path: Path, crl: x509.CertificateRevocationList, authorities: Sequence[x509.Certificate]
) -> x509.Certificate:
    named = [authority for authority in authorities if authority.subject == crl.issuer]
    if not named:
        raise KeyFileError(f"{path}: is of {name_text(crl.issuer)}, which is not in ca_certificates")
    for authority in named:
        if _is_signed_by(crl, authority) and _may_sign_lists(authority):
            return authority
    raise KeyFileError(f"{path}: its signature is not of {name_text(crl.issuer)} in ca_certificates")


def _is_signed_by(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # of an authority: it can sign
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _may_sign_lists(authority: x509.Certificate) -> bool:
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True


def _issuer_list(path: Path, crl: x509.CertificateRevocationList) -> IssuerList:
    for one in crl.extensions:
        if one.oid in _INCOMPLETE or (one.critical and one.oid not in _UNDERSTOOD):
            raise KeyFileError(f"{path}: is no complete list of its authority (extension {one.oid.dotted_string})")
    if crl.next_update_utc is None:
        raise KeyFileError(f"{path}: does not state when the next list comes (nextUpdate)")
    serials = frozenset(revoked.serial_number for revoked in crl)
    position = ListPosition(to_micros(crl.last_update_utc), _number(path, crl))
    return IssuerList(serials, name_text(crl.issuer), position, to_micros(crl.next_update_utc))


def _number(path: Path, crl: x509.CertificateRevocationList) -> int | None:
    try:
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None
    if not 0 <= number < 1 << MAX_NUMBER_BITS:
        raise KeyFileError(f"{path}: its CRL number has more than {MAX_NUMBER_BITS} bits, or is negative")
    return number
