"""Store each run of recall, so that the service can note it in the ledger."""

from estelam.storage.migrations.facts import create_recall_runs

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    create_recall_runs()
