"""A KFP server that has found no fault with what it was sent."""

from collections.abc import Iterator

import pytest

from tests.submission.server import KfpServer


@pytest.fixture
def server() -> Iterator[KfpServer]:
    server = KfpServer()
    yield server
    server.shutdown()
    assert server.faults == []
