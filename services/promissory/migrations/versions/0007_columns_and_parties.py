"""Store with each load the optional columns that its feed has delivered, and how it treated stored parties."""

from estelam.storage.migrations.facts import add_optional_columns_and_parties

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    add_optional_columns_and_parties(
        "note",
        (
            "obligor_address",
            "obligor_postal_code",
            "beneficiary_name",
            "holder_address",
            "holder_postal_code",
        ),
    )
