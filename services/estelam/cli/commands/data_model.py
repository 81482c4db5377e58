"""Commands of `estelam data-model`: export the data reference model of the contracts."""

from pathlib import Path

from estelam.catalogue.loader import read_catalogue
from estelam.catalogue.registry_labels import registry_labels
from estelam.cli import output
from estelam.core.settings import CatalogueSettings, load_settings
from estelam.data_model import export, model


def export_model(folder: Path, catalogue: Path | None, *, as_json: bool) -> None:
    """Write the files of the data reference model into *folder*."""
    with output.user_errors(as_json=as_json):
        registries = registry_labels(read_catalogue(catalogue or load_settings(CatalogueSettings).folder))
        written = export.write(model.load(), folder, registries)
    output.print_record({path.name: path for path in written}, as_json=as_json, title="Data reference model")
