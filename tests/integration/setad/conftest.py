"""The adapter's faces, shared by tests that only ask."""

from collections.abc import Iterator

import pytest

from tests.integration.setad.adapter_process import Faces, faces
from tests.support.service import RunningService
from tools.env.sandbox import Sandbox


@pytest.fixture(scope="module")
def office(shared: Sandbox, promissory: RunningService) -> Iterator[Faces]:
    """Both faces, in front of a ministry that answers."""
    with faces(shared, promissory.address) as running:
        yield running


@pytest.fixture(scope="module")
def cut_off(shared: Sandbox) -> Iterator[Faces]:
    """Both faces, in front of a ministry that can't be reached."""
    with faces(shared, "127.0.0.1:1", request_timeout_seconds=2.0) as running:
        yield running
