"""Labels of the base registries for the data dictionary: each registry's name and its custodian's."""

from estelam.catalogue.model import Catalogue
from estelam.data_model.dictionary import RegistryLabel


def registry_labels(catalogue: Catalogue) -> dict[str, RegistryLabel]:
    """Return the label of every registry of *catalogue*, by slug."""
    parties = {party.slug: party for party in catalogue.parties}
    return {
        registry.slug: RegistryLabel(
            fa=registry.fa,
            en=registry.en,
            custodian_fa=parties[registry.custodian].fa,
            custodian_en=parties[registry.custodian].en,
        )
        for registry in catalogue.registries
    }
