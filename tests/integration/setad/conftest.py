"""Adapters shared by tests that don't change them."""

from collections.abc import Iterator

import pytest

from development.sandbox import Sandbox
from tests.integration.setad.adapter_process import Adapter, running_adapter
from tests.support.service import RunningService


@pytest.fixture(scope="module")
def adapter(shared: Sandbox, promissory: RunningService) -> Iterator[Adapter]:
    """Run an adapter whose ministry answers."""
    with running_adapter(shared, promissory.address) as running:
        yield running


@pytest.fixture(scope="module")
def offline(shared: Sandbox) -> Iterator[Adapter]:
    """Run an adapter whose ministry can't be reached."""
    with running_adapter(shared, "127.0.0.1:1", request_timeout_seconds=2.0) as running:
        yield running
