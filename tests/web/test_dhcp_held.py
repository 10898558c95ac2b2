"""Who else has an address that is reserved: told when the reservation is made, in both families."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from provisioner.dhcp.v6.message import Type
from tests.dhcp.v6.clients import (
    MAC,
    OTHER_MAC,
    RELAYED,
    Says,
    ask,
    by_relay,
    duid_ll,
    given,
    ia,
    link_local,
    us,
)
from tests.web.dhcp import Desk
from tests.web.test_api import Session, call
from tests.web.test_dhcp import lease, session_of, take_over

FIXED = "/v1/dhcp/reservations6/"


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[Session]:
    async with session_of(desk) as session:
        yield session


async def test_who_loses_an_address_is_told(desk: Desk, api: Session) -> None:
    await take_over(api, lease("10.0.0.105", OTHER_MAC), lease("10.0.0.106", MAC))
    wanted = {"address": "10.0.0.105"}
    _, body, _ = await call(api, "PUT", f"/v1/dhcp/reservations/{MAC}", json=wanted)
    (held,) = body["held"]
    assert (held["address"], held["mac"], held["until"][:4]) == ("10.0.0.105", OTHER_MAC, "2027")
    await call(api, "DELETE", f"/v1/dhcp/reservations/{MAC}")
    _, body, _ = await call(api, "PUT", f"/v1/dhcp/reservations/{OTHER_MAC}", json=wanted)
    assert body["held"] == []


LEASED = {
    "another's hardware address": ({"mac": MAC}, [OTHER_MAC]),
    "its hardware address": ({"mac": OTHER_MAC}, []),
    "its DUID": ({"duid": duid_ll(OTHER_MAC).hex()}, []),
    "another's UUID": ({"uuid": "77000000-0000-4000-8000-000000000001"}, [OTHER_MAC]),
}


@pytest.mark.parametrize(("who", "held"), LEASED.values(), ids=LEASED.keys())
async def test_who_loses_one_of_v6_is_told(desk: Desk, api: Session, who: dict[str, str], held: list[str]) -> None:
    asked = us(Says(duid_ll(OTHER_MAC)), Type.REQUEST, ia(1, "fd00::100"))
    assert given(ask(desk.server6.site, by_relay(asked, "fd00::fe", link_local(OTHER_MAC)), RELAYED)) == [["fd00::100"]]
    _, body, _ = await call(api, "PUT", FIXED + "fd00::100", json=who)
    assert [(each["address"], each["mac"]) for each in body["held"]] == [("fd00::100", mac) for mac in held]
