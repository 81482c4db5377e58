"""The command `estelam migrate`: bring the stores to the newest schema."""

from estelam.cli import output
from estelam.cli.stores import kinds, settings_of
from estelam.storage.migrate import migrate as migrate_store


def migrate(services: list[str] | None, *, as_json: bool) -> None:
    """Create the stores of *services*, default all, or bring them to the newest schema."""
    done = {}
    with output.user_errors(as_json=as_json):
        names = services or list(kinds())
        for service in output.track(names, "stores migrated", as_json=as_json, total=len(names)):
            settings = settings_of(service)
            migrate_store(settings.store, settings.MIGRATIONS)
            done[service] = "current"
    output.print_record(done, as_json=as_json)
