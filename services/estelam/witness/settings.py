"""Settings of a witness."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from estelam.core.note_keys import NAME, KeyKind, NoteKey
from estelam.core.settings import HostPort, LogLevel, SettingsSection


class WitnessedLog(BaseModel):
    """A log whose checkpoints the witness cosigns."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    origin: str = Field(pattern=f"^{NAME}$")
    """The log's name, the first line of its checkpoints, as estelam/promissory/14000000001."""
    keys: tuple[Annotated[str, AfterValidator(lambda text: str(NoteKey.parse(text, KeyKind.NOTE)))], ...] = Field(
        min_length=1
    )
    """The verifier keys (NAME+HASH+KEY) of the log, present and future, as `estelam ledger checkpoint --json` prints
    them."""


class WitnessSettings(SettingsSection):
    """The table [witness]."""

    SECTION: ClassVar[str] = "witness"

    name: str = Field(pattern=f"^{NAME}$")
    """The name under which the witness signs: a URL without its scheme, as witness.example/w1."""
    private_key: Path
    """The Ed25519 private key (PEM) that cosigns, used for nothing else."""
    state: Path
    """The folder of the last checkpoint that was cosigned of each log. It belongs to the key: never use the key without
    it."""
    kept_state: Path | None = None
    """A second folder with the same checkpoints, best on another disk: the newer of both counts, so that restoring one
    of them makes the witness forget nothing. Default: STATE.kept."""
    logs: tuple[WitnessedLog, ...] = Field(min_length=1)
    """The logs whose checkpoints are cosigned."""
    listen: HostPort = "127.0.0.1:8100"
    """host:port of the HTTP interface. It needs no authentication, since checkpoints are signed. TLS is the proxy's."""
    metrics_listen: HostPort = "127.0.0.1:0"
    """host:port of the metrics and `/ready`, over plain HTTP."""
    log_level: LogLevel = "info"
    """Least severe level to log: debug, info, warning, error or critical."""
