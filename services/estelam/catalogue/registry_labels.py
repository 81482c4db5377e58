"""Labels of the base registries for the data dictionary: each registry's name with its custodian's name."""

from estelam.catalogue.model import Catalogue
from estelam.data_model.dictionary import Registry


def registries_of(catalogue: Catalogue) -> dict[str, Registry]:
    """The registries of *catalogue* by slug, each labelled with its own name and its custodian's, in both languages."""
    keepers = {party.slug: party for party in catalogue.parties}
    return {
        registry.slug: Registry(
            f"{registry.fa} ({keepers[registry.custodian].fa})", f"{registry.en} ({keepers[registry.custodian].en})"
        )
        for registry in catalogue.registries
    }
