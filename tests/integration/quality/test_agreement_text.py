"""The text of an agreement, and who has signed it."""

from datetime import date

from estelam.catalogue.loader import read_catalogue
from quality import slo
from quality.documents import drafts
from tests.integration.quality.conftest import QualityStore


def test_agreement(quality_store: QualityStore) -> None:
    """An agreement names its parties and bounds, and shows the signatures that the catalogue has, and no others."""
    settings = quality_store.settings

    def sign(content: dict[str, list[dict[str, object]]]) -> None:
        content["agreements"][0]["signatures"] = [{"party": "nix", "on": date(2026, 10, 23), "reference": "NIX-77"}]

    quality_store.edit("agreements.yaml", sign)
    catalogue = read_catalogue(settings.catalogue)
    agreement = catalogue.agreements[0]
    text = drafts.agreement_text(catalogue, slo.read(settings.rules, catalogue), agreement)
    signatures = text.partition("## امضا")[2]

    service, consumer = catalogue.service(agreement.service), catalogue.party(agreement.consumer)
    assert service is not None
    assert consumer is not None
    assert service.fa in text
    assert consumer.fa in text
    assert 1 == signatures.count("NIX-77")
    assert 2 == signatures.count("| ..................... | ..................... |")
