"""What messages of commands tell people to do."""

from pathlib import Path

import pytest
import typer

from estelam.cli import output
from estelam.cli.signing_keys import service_keys
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import UserFacingError


@pytest.mark.parametrize(
    ("seconds", "english", "persian"),
    [(1.0, "Try again in 1 second.", "۱ ثانیه دیگر"), (41.2, "Try again in 42 seconds.", "۴۲ ثانیه دیگر")],
)
def test_short_wait_is_printed(capsys: pytest.CaptureFixture[str], seconds: float, english: str, persian: str) -> None:
    """A refusal that says after how many seconds to try again is printed with them, in both languages."""
    with pytest.raises(typer.Exit):
        output.exit_refused(Refusal(Reason.QUOTA_EXHAUSTED, retry_seconds=seconds), as_json=False)

    printed = capsys.readouterr().err
    assert english in printed
    assert persian in printed


@pytest.mark.parametrize("pki", [None, "pki"])
def test_missing_certificate_names_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pki: str | None) -> None:
    """Where no settings name a signing certificate, or one that is not there, the message begins with the option."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ESTELAM_CONFIG", raising=False)
    if pki:
        monkeypatch.setenv("ESTELAM_CLIENT_PKI", pki)

    with pytest.raises(UserFacingError, match=r"^give --certificate FILE, .* promissory"):
        service_keys("promissory", None)
