"""Disposable deployments: copies of one sandbox with the samples, on either engine."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from development import sandbox as suite
from development.sandbox import Sandbox
from promissory.settings import PromissorySettings
from tools.env import postgres

STORE = "ESTELAM_PROMISSORY_STORE"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A sandbox; `store` is the URL of its promissory service's store."""

    sandbox: Sandbox
    store: str

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables that set that store."""
        return {STORE: self.store}

    @property
    def settings(self) -> PromissorySettings:
        """The promissory service's settings."""
        return self.sandbox.promissory(store=self.store)


DeploymentFactory = Callable[[str], Deployment]


@contextmanager
def on_sqlite(folder: Path) -> Iterator[DeploymentFactory]:
    """Yield a factory of deployments in *folder*."""
    template = _template(folder / "template")

    def build(name: str) -> Deployment:
        copied = Path(shutil.copytree(template.folder, folder / name))
        return Deployment(Sandbox(copied), f"sqlite:///{copied / 'promissory'}")

    yield build


@contextmanager
def on_postgresql(folder: Path) -> Iterator[DeploymentFactory]:
    """Yield a factory of deployments in *folder*, each with a database of one PostgreSQL server."""
    with postgres.cluster() as cluster:
        names = {name: cluster.database() for name in ("promissory", "judiciary")}
        template = _template(folder / "template", {name: cluster.url(database) for name, database in names.items()})

        def build(name: str) -> Deployment:
            copied = Path(shutil.copytree(template.folder, folder / name))
            return Deployment(Sandbox(copied), cluster.url(cluster.database(names["promissory"])))

        yield build


def _template(folder: Path, stores: dict[str, str] | None = None) -> Sandbox:
    sandbox = suite.create_sandbox(folder, stores=stores, rate=1e6, burst=10**6)
    suite.load_samples(sandbox)
    return sandbox
