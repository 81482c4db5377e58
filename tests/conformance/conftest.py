"""Fixtures of the kit's own tests: certificates, a manifest, and a target without a server."""

from pathlib import Path

import pytest

from conformance.case import Instance
from conformance.target import Target
from tests.conformance import fake_ministry


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_ministry.fixtures(tmp_path_factory.mktemp("kit"))


@pytest.fixture
def target(pki: Path) -> Target:
    """A promissory target at an address where nothing listens, for tests that supply the channel."""
    return Target({Instance.PROMISSORY: "127.0.0.1:1"}, pki)
