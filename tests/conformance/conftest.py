"""What the kit's own tests stand on: certificates and a manifest, and a target that is only an address."""

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
    """The promissory service at an address where nobody is; the channel is in the test's hands."""
    return Target({Instance.PROMISSORY: "127.0.0.1:1"}, pki)
