"""Subnets that are changed together in the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.web.dhcp import Desk
from tests.web.test_api import Session, call
from tests.web.test_dhcp import session_of


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[Session]:
    async with session_of(desk) as session:
        yield session


async def test_subnets_of_one_wire_are_set_together(desk: Desk, api: Session) -> None:
    wire = {"shared_network": "w", "mode": "proxy"}
    two = [
        {"network": "10.5.0.0/24", "name": "b", **wire},
        {"network": "10.6.0.0/24", "name": "c", **wire, "interface": "eth7"},
    ]
    status, problem, _ = await call(api, "POST", "/v1/dhcp/subnets", json={"subnets": two})
    assert (status, "differ in interface" in str(problem)) == (422, True)
    assert [each.title for each in desk.server.subnets()] == ["rack1"]
    del two[1]["interface"]
    status, body, _ = await call(api, "POST", "/v1/dhcp/subnets", json={"subnets": two})
    assert (status, [(row["name"], row["mode"], row["origin"]) for row in body["subnets"]]) == (
        200,
        [("b", "proxy", "api"), ("c", "proxy", "api")],
    )
