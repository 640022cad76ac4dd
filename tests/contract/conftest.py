from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import require
from tests.servers.triton import Triton


@pytest.fixture(scope="session")
def triton_address() -> Iterator[str]:
    """gRPC address of a real Triton server that serves ``pointwise`` (0.5 · x + 0.25)."""
    server = require("Triton", Triton)
    yield server.address
    server.stop()
