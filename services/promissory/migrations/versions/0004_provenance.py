"""Store with each load where its data is from, and with the coverage the feeds that it is derived from."""

from estelam.storage.migrations.facts import add_provenance

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    add_provenance("notes", {"members": "setad_member"})
