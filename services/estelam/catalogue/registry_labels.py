"""Labels of the base registries for the data dictionary: each registry's name with its custodian's name."""

from estelam.catalogue.model import Catalogue
from estelam.data_model.dictionary import RegistryLabel


def registry_labels(catalogue: Catalogue) -> dict[str, RegistryLabel]:
    """Return the label of every registry of *catalogue*, by slug."""
    parties = {party.slug: party for party in catalogue.parties}
    return {
        registry.slug: RegistryLabel(
            fa=f"{registry.fa} ({parties[registry.custodian].fa})",
            en=f"{registry.en} ({parties[registry.custodian].en})",
        )
        for registry in catalogue.registries
    }
