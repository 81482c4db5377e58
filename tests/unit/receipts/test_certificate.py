"""Certificates: a PDF of verified replies, with the receipts attached, which alone are proof."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from pypdf import PdfReader, PdfWriter
from typer.testing import CliRunner, Result

from development.sandbox import CHECK_BY_TRACKING_ID, GET_NOTE_PARTIES
from estelam.cli.root import application
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from tests.support.receipt_vectors import CHEQUE, PARTIES, YES, Provider, flip, line
from tests.unit.receipts.test_cosignature import SECONDS, cosigner

NAMED = notes.Party(kind=notes.PERSON_KIND_NATURAL, id=YES.obligor_id, full_name="آرش نمونه‌ای \U0001f600漢\u0488")
NO = cases.CheckByTrackingIdResponse(
    answer=pb.ANSWER_NO,
    coverage=pb.Coverage(since=Date(year=2021, month=3, day=21), as_of=Timestamp(seconds=1_764_500_000)),
)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    return Provider(tmp_path_factory.mktemp("provider"))


@pytest.fixture
def saved(provider: Provider, tmp_path: Path) -> Path:
    """Three saved replies: YES under a cosigned checkpoint, the parties, and NO."""
    witness = cosigner()
    (tmp_path / "witness").write_text(f"{witness.key}\n")
    yes = provider.receipt()
    yes.checkpoint += witness.cosign(yes.checkpoint.partition("\n\n")[0] + "\n", SECONDS)
    parties = provider.receipt(GET_NOTE_PARTIES, PARTIES, notes.GetNotePartiesResponse(obligor=NAMED))
    no = provider.receipt(CHECK_BY_TRACKING_ID, CHEQUE, NO)
    path = tmp_path / "saved.jsonl"
    path.write_bytes(line(yes) + line(parties) + line(no))
    return path


def run(provider: Provider, command: str, file: Path, *more: str) -> Result:
    keys = "--certificate", str(provider.certificate), "--witness-key", str(file.with_name("witness"))
    return CliRunner().invoke(application(), ["receipt", command, str(file), *keys, *more])


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)


@pytest.mark.parametrize(
    ("language", "words"), [("fa", ("بلی", "ارائه شد", "خیر")), ("en", ("YES", "DISCLOSED", "NO", "1,764"))]
)
def test_certificate(provider: Provider, saved: Path, language: str, words: tuple[str, ...]) -> None:
    """It states each reply, has the saved file attached, is verified, and is made of the same bytes again."""
    made = [saved.with_name(name) for name in ("first.pdf", "second.pdf")]
    done = [run(provider, "certificate", saved, "--out", str(path), "--lang", language) for path in made]
    verified = run(provider, "verify", made[0])
    content, text = made[0].read_bytes(), text_of(made[0].read_bytes())

    assert [0, 0, 0] == [*(each.exit_code for each in done), verified.exit_code]
    assert content == made[1].read_bytes()
    assert {"receipt.jsonl": [saved.read_bytes()]} == dict(PdfReader(io.BytesIO(content)).attachments)
    for said in (YES.serial, YES.obligor_id, CHEQUE.tracking_id, "witness.example/w1", *words[:3]):
        assert said in text
    assert "6f22" in text  # of a name: an escape of a character that is in no font
    assert 3 == verified.stdout.count("VALID, attached\n")
    assert "are those that this program makes of the attached receipts" in verified.stdout


def test_other_pages(provider: Provider, saved: Path) -> None:
    """Of a PDF with other pages, the attachment is verified and printed, but the PDF is not called valid."""
    made, altered = saved.with_name("made.pdf"), saved.with_name("altered.pdf")
    run(provider, "certificate", saved, "--out", str(made))
    writer = PdfWriter(clone_from=made)
    writer.add_blank_page()
    writer.write(altered)
    verified, as_json = run(provider, "verify", altered), run(provider, "verify", altered, "--json")

    assert (21, 21) == (verified.exit_code, as_json.exit_code)
    assert YES.serial in verified.stdout
    assert "only the attached receipts are proof" in verified.stderr
    assert '"OTHER_PAGES"' in as_json.stdout
    assert '"valid": true' not in as_json.stdout


def test_no_certificate(provider: Provider, saved: Path) -> None:
    """A reply that is not valid gets no certificate, and its receipt in a PDF is as invalid as in a file."""
    forged = provider.receipt()
    forged.reply = flip(forged.reply)
    saved.write_bytes(line(forged))
    paper, out = saved.with_name("forged.pdf"), saved.with_name("out.pdf")
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.add_attachment("receipt.jsonl", saved.read_bytes())
    writer.write(paper)
    done = run(provider, "certificate", saved, "--out", str(out))
    paper_verified, file_verified = run(provider, "verify", paper), run(provider, "verify", saved)

    assert (1, False) == (done.exit_code, out.exists())
    assert (1, 1) == (paper_verified.exit_code, file_verified.exit_code)
    assert done.stderr == file_verified.stderr


@pytest.mark.parametrize("content", [b"%PDF-1.7\n", b"%PDF-1.7\n%%EOF\n", b"%PDF-1.7\nstartxref\n9\n%%EOF"])
def test_no_pdf(provider: Provider, saved: Path, content: bytes) -> None:
    """A damaged PDF is MALFORMED."""
    saved.write_bytes(content)

    assert (2, True) == ((done := run(provider, "verify", saved)).exit_code, done.stderr.startswith("MALFORMED"))


def test_without_extra(provider: Provider, saved: Path) -> None:
    """Without the extra, a PDF is not judged: exit 21 names what to install; a saved reply is verified as ever."""
    paper = saved.with_name("paper.pdf")
    run(provider, "certificate", saved, "--out", str(paper))
    code = "import sys; sys.modules['typst'] = None; from estelam.cli import main; main()"
    command = [sys.executable, "-c", code, "receipt", "verify", str(paper), "--certificate", str(provider.certificate)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (21, "") == (done.returncode, done.stdout)
    assert "pip install 'estelam[pdf]'" in done.stderr
