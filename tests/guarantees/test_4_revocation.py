"""Guarantee 4, revocation lists: a revoked certificate is refused on every face, and so is what can't be decided."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from development import sandbox as suite
from development.sandbox import CHECK_NOTE, Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.auth.revocation import Revocation, read_lists
from estelam.auth.trust import ClientTrust
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.pem import KeyFileError, read_certificates
from estelam.server.file_check import check_store_files
from tests.conftest import Start, plain_channel, promissory_opening
from tests.guarantees.test_4_authorization import OK, Outcome, Time, ask
from tests.guarantees.test_4_authorization_behind_proxy import HEADER, forwarded
from tests.integration.setad.adapter_process import GENUINE, https_client_named, running_adapter
from tests.support.certificates import DAY, NOW, concatenate, crl_pem, key_sha256, write_authority
from tests.support.service import RunningService

REVOKED = (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_REVOKED)
UNKNOWN = (grpc.StatusCode.UNAVAILABLE, Reason.REVOCATION_UNKNOWN)
HOUR = timedelta(hours=1)


class Revoking:
    """A service with a revocation list and a trusted proxy, whose connections stay open."""

    def __init__(self, sandbox: Sandbox, clock: Time, address: str) -> None:
        self.sandbox, self.time, self.list = sandbox, clock, sandbox.folder / "ca.crl"
        pki = sandbox.pki
        self._direct = plain_channel(address, ClientIdentity.named(pki, "setad"))
        self._proxy = plain_channel(address, ClientIdentity.named(pki, "proxy"))
        self._header = forwarded((pki / "setad.crt").read_bytes())

    def write(self, content: bytes) -> None:
        """Replace the list, advance the clock past the next check of it, and make a call, which checks it."""
        self.list.write_bytes(content)
        self.time.seconds += 2
        self.outcomes()

    def outcomes(self) -> tuple[Outcome, Outcome]:
        """The outcomes of two calls with Setad's certificate, on open connections: directly, and by the proxy."""
        return (
            ask(self._direct, CHECK_NOTE)[0],
            ask(self._proxy, CHECK_NOTE, metadata=[(HEADER, self._header)])[0],
        )

    def close(self) -> None:
        self._direct.close()
        self._proxy.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Revoking]:
    sandbox, clock = suite.create_sandbox(tmp_path_factory.mktemp("revoking") / "suite"), Time()
    suite.load_samples(sandbox)
    (sandbox.folder / "ca.crl").write_bytes(crl_pem(sandbox.pki))
    opening = promissory_opening(
        sandbox,
        clock.clock,
        shutdown_delay_seconds=0,
        trusted_proxy_keys=[key_sha256(sandbox.pki / "proxy.crt")],
        revocation_lists=(sandbox.folder / "ca.crl",),
    )
    with RunningService(opening) as running:
        revoking = Revoking(sandbox, clock, running.address)
        yield revoking
        revoking.close()


def test_revoked_on_open_connections(service: Revoking) -> None:
    """A revoked certificate is refused from the next call on, on open connections, directly and behind a proxy."""
    pki = service.sandbox.pki
    service.write(crl_pem(pki, [pki / "cbi.crt"]))
    before = service.outcomes()
    service.write(crl_pem(pki, [pki / "cbi.crt", pki / "setad.crt"], since=NOW - DAY + HOUR, encoding=Encoding.DER))
    during = service.outcomes()
    service.write(crl_pem(pki, since=NOW - DAY + 2 * HOUR))

    assert ((OK, OK), (REVOKED, REVOKED)) == (before, during)
    assert (OK, OK) == service.outcomes()


def test_revoked_proxy(service: Revoking) -> None:
    """Nobody gets through a proxy whose own certificate is revoked."""
    pki = service.sandbox.pki
    service.write(crl_pem(pki, [pki / "proxy.crt"], since=NOW - DAY + 3 * HOUR))
    during = service.outcomes()
    service.write(crl_pem(pki, since=NOW - DAY + 4 * HOUR))

    assert (OK, REVOKED) == during


def test_expired_list(service: Revoking) -> None:
    """A list that has run out, or is not yet in force, lets nobody pass; a revoked certificate stays revoked."""
    pki = service.sandbox.pki
    service.write(crl_pem(pki, since=NOW - DAY + 5 * HOUR, until=NOW + DAY))
    seen = []
    for ahead in (timedelta(), 2 * DAY, -2 * DAY):
        service.time.ahead = ahead
        seen.append(service.outcomes()[0])
    service.time.ahead = timedelta()
    service.write(crl_pem(pki, [pki / "setad.crt"], since=NOW - DAY + 6 * HOUR, until=NOW - HOUR))
    revoked = service.outcomes()
    service.write(crl_pem(pki, since=NOW - DAY + 7 * HOUR))

    # Two days back the caller's own certificate is not valid yet either.
    assert [OK, UNKNOWN, (grpc.StatusCode.UNAUTHENTICATED, Reason.CERTIFICATE_EXPIRED)] == seen
    assert (REVOKED, UNKNOWN) == revoked  # the proxy's own certificate can't be decided
    assert (OK, OK) == service.outcomes()


def foreign_list(pki: Path, scratch: Path) -> bytes:
    """A list of another authority of the same name."""
    DevCertificateAuthority.create(scratch)
    return crl_pem(scratch, since=NOW)


def unknown_issuer(pki: Path, scratch: Path) -> bytes:
    DevCertificateAuthority.create(scratch, "another authority")
    return crl_pem(scratch, since=NOW)


def damaged(pki: Path, _scratch: Path) -> bytes:
    wire = bytearray(crl_pem(pki, since=NOW, encoding=Encoding.DER))
    wire[-1] ^= 1
    return bytes(wire)


def partial(pki: Path, _scratch: Path) -> bytes:
    users_only = x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    return crl_pem(pki, since=NOW, extension=users_only)


WRONG: dict[str, tuple[str, Callable[[Path, Path], bytes]]] = {
    "forged": ("its signature is not of", foreign_list),
    "unknown issuer": ("which is not in ca_certificates", unknown_issuer),
    "changed": ("its signature is not of", damaged),
    "part of a list": ("is no complete list of its authority", partial),
    "changes only": (
        "is no complete list",
        lambda pki, _: crl_pem(pki, since=NOW, extension=x509.DeltaCRLIndicator(1)),
    ),
    "a certificate": (
        "is a certificate, not a certificate revocation list",
        lambda pki, _: (pki / "ca.crt").read_bytes(),
    ),
    "half a file": ("damaged or cut off", lambda pki, _: crl_pem(pki, since=NOW)[:-60]),
    "empty": ("is empty", lambda _pki, _scratch: b""),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_file(service: Revoking, tmp_path: Path, kind: str) -> None:
    """A wrong file leaves the list in force while the service runs, and prevents a start."""
    pki, (words, make) = service.sandbox.pki, WRONG[kind]
    service.write(crl_pem(pki, [pki / "setad.crt"], since=NOW - 2 * HOUR))
    service.write(make(pki, tmp_path / "scratch"))
    during = service.outcomes()
    with pytest.raises(KeyFileError, match=words):
        Revocation([service.list], pki / "ca.crt", Clock())

    assert (REVOKED, REVOKED) == during


def test_older_list(service: Revoking) -> None:
    """An older list than the one in force, as an attacker would replay it, is not taken."""
    pki = service.sandbox.pki
    service.write(crl_pem(pki, [pki / "setad.crt"], since=NOW - HOUR))
    service.write(crl_pem(pki, since=NOW - 20 * HOUR))

    assert (REVOKED, REVOKED) == service.outcomes()


def test_older_list_after_a_start(sandbox: Sandbox, start: Start) -> None:
    """Neither a start nor a reload takes an older list than was in force, until the kept one is removed."""
    lists, kept = sandbox.folder / "ca.crl", sandbox.folder / "promissory.revocation"
    lists.write_bytes(crl_pem(sandbox.pki, [sandbox.pki / "setad.crt"], since=NOW - HOUR))
    opening = promissory_opening(sandbox, revocation_lists=(lists,), shutdown_delay_seconds=0)
    start(opening).close()
    lists.write_bytes(crl_pem(sandbox.pki, since=NOW - 2 * HOUR))
    for begin in (lambda: start(opening), lambda: check_store_files(sandbox.promissory(revocation_lists=(lists,)))):
        with pytest.raises(KeyFileError, match=rf"is older than the one .* remove its entry from {kept}"):
            begin()
    kept.write_text("{}")
    with plain_channel(start(opening).address, ClientIdentity.named(sandbox.pki, "setad")) as channel:
        outcome = ask(channel, CHECK_NOTE)[0]

    assert REVOKED != outcome


@pytest.mark.parametrize(
    ("number", "since", "is_taken"),
    [(8, NOW, True), (7, NOW, True), (6, NOW, False), (None, NOW, True), (8, NOW - HOUR, False)],
)
def test_numbers_of_lists(tmp_path: Path, number: int | None, since: datetime, *, is_taken: bool) -> None:
    """A list is older if its time or its number is lower than of the list that was in force, also after a start."""
    pki = DevCertificateAuthority.create(tmp_path / "pki").folder
    lists, kept = tmp_path / "ca.crl", tmp_path / "kept"
    lists.write_bytes(crl_pem(pki, since=NOW, extension=x509.CRLNumber(7)))
    Revocation([lists], pki / "ca.crt", Clock(), kept=kept)
    lists.write_bytes(crl_pem(pki, since=since, extension=x509.CRLNumber(number) if number else None))

    with nullcontext() if is_taken else pytest.raises(KeyFileError, match="is older than"):
        Revocation([lists], pki / "ca.crt", Clock(), kept=kept)


def test_list_that_has_not_begun(tmp_path: Path) -> None:
    """A list that is dated ahead does not exclude the right one after it."""
    pki = DevCertificateAuthority.create(tmp_path / "pki").folder
    for since in (NOW + HOUR, NOW - HOUR):
        (tmp_path / "ca.crl").write_bytes(crl_pem(pki, since=since))
        found = Revocation([tmp_path / "ca.crl"], pki / "ca.crt", Clock(), kept=tmp_path / "kept")

    assert found.is_current()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"a": 1}', b"\xff", b'{"a": {"authority": "", "this_update": 1e999}}']
)
def test_damaged_kept_lists(tmp_path: Path, content: bytes) -> None:
    """A start with a damaged file of kept lists is refused, and names it."""
    pki = DevCertificateAuthority.create(tmp_path / "pki").folder
    (tmp_path / "ca.crl").write_bytes(crl_pem(pki))
    (tmp_path / "kept").write_bytes(content)

    with pytest.raises(KeyFileError, match=r"/kept: "):
        Revocation([tmp_path / "ca.crl"], pki / "ca.crt", Clock(), kept=tmp_path / "kept")


def test_new_list_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """A new list is in force also where it can't be kept; a start needs the file."""
    pki, clock = DevCertificateAuthority.create(tmp_path / "pki").folder, Time()
    lists, kept = tmp_path / "ca.crl", tmp_path / "folder" / "kept"
    lists.write_bytes(crl_pem(pki, since=NOW - HOUR))
    with pytest.raises(FileNotFoundError):
        Revocation([lists], pki / "ca.crt", clock.clock, kept=kept)
    kept.parent.mkdir()
    revocation = Revocation([lists], pki / "ca.crt", clock.clock, kept=kept)
    kept.unlink()
    kept.parent.rmdir()
    until = NOW + 3 * DAY
    lists.write_bytes(crl_pem(pki, until=until, since=NOW))
    clock.seconds += 2
    revocation.is_current()

    assert until.replace(microsecond=0).timestamp() == revocation.expires_at()


@pytest.mark.parametrize("order", [1, -1])
def test_newest_list_of_several(tmp_path: Path, order: int) -> None:
    """Of several lists of one authority the newest counts, in whatever order they stand."""
    authority = DevCertificateAuthority.create(tmp_path / "authority")
    revoked = [authority.issue(name, []) for name in ("first", "second")]
    lists = [crl_pem(authority.folder, [file], since=NOW - age) for file, age in zip(revoked, (HOUR, DAY), strict=True)]
    concatenate(tmp_path / "lists.pem", lists[::order])
    (found,) = read_lists([tmp_path / "lists.pem"], [authority.certificate]).values()

    assert {read_certificates(revoked[0])[0].serial_number} == found.serials


def test_authority_that_may_not_sign_lists(tmp_path: Path) -> None:
    """A list signed by an authority whose certificate does not permit it to sign lists is not taken."""
    outcomes: list[int | str] = []
    for name, signs_lists in (("may", True), ("may-not", False)):
        pki = write_authority(tmp_path / name, signs_lists=signs_lists)
        (pki / "ca.crl").write_bytes(crl_pem(pki))
        try:
            outcomes.append(len(read_lists([pki / "ca.crl"], read_certificates(pki / "ca.crt"))))
        except KeyFileError as error:
            outcomes.append(str(error).partition(": ")[2].partition(" of ")[0])

    assert [1, "its signature is not"] == outcomes


@pytest.mark.parametrize(
    ("revoked", "listed", "reason"),
    [
        ("nobody", ("root", "middle"), None),
        ("middle", ("root", "middle"), Reason.CERTIFICATE_REVOKED),
        ("leaf", ("root", "middle"), Reason.CERTIFICATE_REVOKED),
        ("nobody", ("middle",), Reason.REVOCATION_UNKNOWN),
        ("nobody", ("root",), Reason.REVOCATION_UNKNOWN),
    ],
)
def test_whole_chain_is_checked(tmp_path: Path, revoked: str, listed: tuple[str, ...], reason: Reason | None) -> None:
    """Each authority between a certificate and its root needs a list, and a revoked one revokes the certificate."""
    root = write_authority(tmp_path / "root")
    middle = write_authority(tmp_path / "middle", above=root)
    leaf = DevCertificateAuthority(middle).issue("leaf", ["99001504616"])
    files = {"middle": (root, middle / "ca.crt"), "leaf": (middle, leaf)}
    lists = []
    for issuer in (root, middle):
        named = [file for name, (by, file) in files.items() if by == issuer and name == revoked]
        lists += [crl_pem(issuer, named)] if issuer.name in listed else []
    concatenate(tmp_path / "lists.pem", lists)
    trust = concatenate(tmp_path / "trust.crt", [middle / "ca.crt", root / "ca.crt"])
    revocation = Revocation([tmp_path / "lists.pem"], trust, Clock())
    with nullcontext() if reason is None else pytest.raises(Refusal) as refused:
        revocation.check(ClientTrust(trust, Clock()).verify(leaf.read_bytes()))

    assert reason == (refused and refused.value.reason)


def test_each_authority_needs_a_list(tmp_path: Path) -> None:
    """Callers of an authority without a list are refused; one file may hold the lists of several authorities."""
    sandbox = suite.create_sandbox(tmp_path / "suite")
    suite.load_samples(sandbox)
    other = DevCertificateAuthority.create(tmp_path / "other", "second authority")
    other.issue("setad", [suite.ORGANIZATIONS["setad"]])
    own = crl_pem(sandbox.pki)
    trust = concatenate(tmp_path / "both.crt", [sandbox.pki / "ca.crt", other.folder / "ca.crt"])
    identity = ClientIdentity(other.folder / "setad.crt", other.folder / "setad.key", sandbox.pki / "ca.crt")
    outcomes = []
    for lists in (own, own + crl_pem(other.folder), own + crl_pem(other.folder, [other.folder / "setad.crt"])):
        (tmp_path / "lists.pem").write_bytes(lists)
        opening = promissory_opening(
            sandbox, ca_certificates=trust, revocation_lists=(tmp_path / "lists.pem",), shutdown_delay_seconds=0
        )
        with RunningService(opening) as running, plain_channel(running.address, identity) as channel:
            outcomes.append(ask(channel, CHECK_NOTE)[0])

    assert [UNKNOWN, OK, REVOKED] == outcomes


def test_rest_api(tmp_path: Path) -> None:
    """A certificate that is revoked meanwhile is refused by the JSON API on a connection that it has open."""
    sandbox = suite.create_sandbox(tmp_path / "suite")
    lists = sandbox.folder / "ca.crl"
    lists.write_bytes(crl_pem(sandbox.pki))
    time = Time()
    with (
        running_adapter(sandbox, "127.0.0.1:1", time.clock, revocation_lists=(lists,)) as adapter,
        https_client_named(sandbox, "setad") as setad,
    ):
        setad.get(f"{adapter.api}/openapi.json")
        lists.write_bytes(crl_pem(sandbox.pki, [sandbox.pki / "setad.crt"]))
        time.seconds += 2
        response = setad.post(f"{adapter.api}/v1/notes:verify", json=GENUINE)

    assert (401, "CERTIFICATE_REVOKED") == (response.status_code, response.json()["reason"])
