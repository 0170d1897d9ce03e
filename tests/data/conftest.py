"""A running hub for the tests of the data room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hub_server import HubState, running_hub


@pytest.fixture
def hub_state() -> Iterator[HubState]:
    """A hub on this machine, without data sets."""
    with running_hub() as state:
        yield state
