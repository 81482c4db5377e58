"""`estelam keyring`: the HMAC keys by which the entries of a ledger are found."""

from typing import Annotated

import typer

from estelam.cli.deferred import implemented_in
from estelam.cli.options import Archive, AsJson, Service

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.keyring")
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, for example the year: 1405.")]


@app.command("show")
@implemented
def show_keys(service: Service, archive: Archive = None, as_json: AsJson = False) -> None:
    """List the keys of a service: which one hashes new entries, which are destroyed and by whom, and their use.

    used_until is when the next key was first used; while hosts are restarted, entries of two keys mix. Exit 0: listed;
    1: the ledger is INVALID; 21: the keyring, the ledger or an archived note can't be read.
    """


@app.command("add")
@implemented
def add_key(service: Service, key_id: KeyId, as_json: AsJson = False) -> None:
    """Add a new random key, which is known but not used yet. Restart the workers of every host before `keyring use`.

    Exit 0: added; 2: the id is malformed or taken; 21: the keyring can't be written.
    """


@app.command("use")
@implemented
def use_key(service: Service, key_id: KeyId, as_json: AsJson = False) -> None:
    """Let a known key hash new entries, from the next start of the workers on.

    Exit 0: done; 2: there is no such key, or it is destroyed; 21: the keyring can't be written.
    """


@app.command("destroy")
@implemented
def destroy_key(
    service: Service,
    key_id: KeyId,
    operator: Annotated[str, typer.Option(metavar="NAME", help="Who destroys it, by an official name.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it is destroyed. Name no person asked for.")],
    irreversibly: Annotated[
        bool, typer.Option("--irreversibly", help="Confirm that nobody shall find its entries by an identifier again.")
    ] = False,
    within_retention: Annotated[
        bool, typer.Option("--within-retention", help="Confirm that its newest entries are not 10 years old yet.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Destroy a key: its entries stay in the ledger and prove what they prove, but no identifier leads to them.

    The ledger notes it for ever, before the key is erased; on SQLite the service must not run. Destroy every copy and
    backup of the keyring too. A destroyed key whose note a restore lost is noted anew. Exit 0: destroyed; 2: there is
    no such key, it is the one in use or destroyed already, or an option that confirms it is missing; 21: the ledger or
    the keyring can't be written.
    """
