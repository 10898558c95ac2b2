"""Imports of DHCPv6 over the API: in one piece with those of DHCPv4, live, durable."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.dhcp.v6.message import Type
from tests.dhcp.clients import NOW
from tests.dhcp.v6.clients import RELAYED, Says, ask, by_relay, given, ia, ip, us
from tests.web.dhcp import Desk
from tests.web.test_dhcp import Session, call, session_of, take_over
from tests.web.test_dhcp import fixed as fixed4
from tests.web.test_dhcp import lease as lease4

DUID, OTHER = "00:04:" + ":".join(["ab"] * 16), "00:04:" + ":".join(["cd"] * 16)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    it = await Desk(tmp_path).open()
    yield it
    await it.close()


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[Session]:
    async with session_of(desk) as session:
        yield session


def lease(address: str = "fd00::105", duid: str = DUID, **more: Any) -> dict[str, Any]:
    return {"kind": "lease", "address": address, "duid": duid, "iaid": 1, "until": NOW + 1000, **more}


def fixed(address: str = "fd00::50", duid: str = OTHER, **more: Any) -> dict[str, Any]:
    return {"kind": "reservation", "address": address, "duid": duid, **more}


def renews(desk: Desk, duid: str, address: str) -> list[list[str]]:
    client = Says(bytes.fromhex(duid.replace(":", "")))
    return given(ask(desk.server6.site, by_relay(us(client, Type.RENEW, ia(1, address))), RELAYED))


async def test_both_families_are_taken_over_in_one_piece_and_kept(desk: Desk, api: Session) -> None:
    entries = (fixed(name="five"), lease(name="n"), lease("fd00::50", OTHER), fixed4(), lease4(mac="52:54:00:00:00:02"))
    rows, done = await take_over(api, *entries)
    assert [row["what"] for row in rows] == ["new"] * 5
    assert (rows[1]["address"], rows[1]["duid"], done["applied"]) == ("fd00::105", DUID, True)
    await desk.close()
    again = await Desk(desk.folder).open()
    again.server6.site.topology.take_over(await again.leases6.load())
    async with session_of(again) as later:
        rows, done = await take_over(later, *entries)
        assert done == {"event": "done", "applied": True, "counts": {"same": 5}}
        _, body, _ = await call(later, "GET", "/v1/dhcp/leases?family=6")
        assert [(row["address"], row["name"], row["mac"], row["client_id"][:17]) for row in body["leases"]] == [
            ("fd00::50", "", "", "ff:00:00:00:01:00"),
            ("fd00::105", "n", "", "ff:00:00:00:01:00"),
        ]
        _, body, _ = await call(later, "GET", "/v1/dhcp/reservations6")
        assert next((row["address"], row["duid"], row["name"]) for row in body["reservations6"]) == (
            "fd00::50",
            OTHER,
            "five",
        )
    again.server6.site.duid = bytes.fromhex("0004") + bytes(range(16))
    assert renews(again, DUID, "fd00::105") == [["fd00::105"]]
    assert renews(again, OTHER, "fd00::50") == [["fd00::50"]]
    await again.close()


async def test_a_conflict_in_one_family_stops_both(desk: Desk, api: Session) -> None:
    rows, done = await take_over(api, lease4(), lease(), lease("fd99::5", OTHER))
    assert ([row["what"] for row in rows], done["applied"]) == (["new", "new", "conflict"], False)
    assert (desk.holders("10.0.0.105"), desk.server6.leases()) == ([None], [])
    net = next(iter(desk.server6.site.topology))
    assert net.pool.holder(ip("fd00::105"), NOW) is None
    rows, done = await take_over(api, lease4(), lease(), lease("fd99::5", OTHER), keep_going="yes")
    assert (done["applied"], done["counts"]) == (True, {"new": 2, "conflict": 1})


async def test_a_dry_run_changes_nothing(desk: Desk, api: Session) -> None:
    _, done = await take_over(api, fixed(), lease(), dry_run="yes")
    assert (done["applied"], done["counts"], desk.server6.leases()) == (False, {"new": 2}, [])
    assert await desk.book6._store.settings6() == ([], [])


async def test_what_the_store_refuses_is_not_live(desk: Desk, api: Session) -> None:
    trigger = "CREATE TRIGGER no BEFORE INSERT ON lease6 BEGIN SELECT RAISE(FAIL, 'no'); END"
    await desk.db.submit(lambda cursor: cursor.execute(trigger) and None)
    async with api.post("/v1/dhcp/import", data=json.dumps(fixed()) + "\n" + json.dumps(lease())) as answer:
        assert answer.status == 503, await answer.read()
    assert (desk.server6.leases(), await desk.book6._store.settings6()) == ([], ([], []))
    net = next(iter(desk.server6.site.topology))
    assert net.pool.holder(ip("fd00::105"), NOW) is None


BAD = {
    "a DUID that is none": (lease(duid="00"), "line 1: '00' is no DUID"),
    "a number that is none": ({**lease(), "iaid": -1}, "line 1: body.iaid"),
    "an address that is none": (lease("fd00:::5"), "line 1: address: "),
}


@pytest.mark.parametrize(("entry", "text"), BAD.values(), ids=BAD.keys())
async def test_a_line_that_is_none(api: Session, entry: dict[str, Any], text: str) -> None:
    status, problem, _ = await call(api, "POST", "/v1/dhcp/import", data=json.dumps(entry).encode())
    assert (status, problem["detail"].startswith(text)) == (400, True), problem
