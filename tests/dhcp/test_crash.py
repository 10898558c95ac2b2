"""An acknowledged lease outlives the server's sudden death."""

from __future__ import annotations

import pytest

from tests.dhcp.crash import FIRST_CRASH, crash


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_kill_9_under_load_loses_no_acknowledged_lease() -> None:
    """`python -m tests.dhcp.crash` does it twenty times."""
    assert await crash(2) > FIRST_CRASH
