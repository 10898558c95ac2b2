"""DHCPv6 in the API, over its real socket, its real store and a real server without a wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from provisioner.dhcp.leases import LeaseState
from provisioner.dhcp.v6.message import Type
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.errors import ProvisionerError
from tests.dhcp.clients import NOW
from tests.dhcp.v6.clients import (
    MAC,
    OTHER_MAC,
    RELAYED,
    SERVER_DUID,
    Says,
    ask,
    by_relay,
    duid_ll,
    given,
    ia,
    ip,
    link_local,
    outcome,
    us,
)
from tests.web.dhcp import CONFIG, Desk
from tests.web.test_api import Session, call
from tests.web.test_dhcp import fixed as fixed4
from tests.web.test_dhcp import lease as lease4
from tests.web.test_dhcp import session_of, take_over

PRINTER, FIXED = "52:54:00:00:00:99", "/v1/dhcp/reservations6/"
SECOND = {"network": "fd05::/64", "interface": "", "pools": ["fd05::10-fd05::20"]}


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[Session]:
    async with session_of(desk) as session:
        yield session


def offered(desk: Desk, mac: str = MAC, link: str = "fd00::fe") -> list[list[str]]:
    question = by_relay(Says(duid_ll(mac)).message(Type.SOLICIT, ia()), link, link_local(mac))
    return given(ask(desk.server6.site, question, RELAYED))


async def test_an_address_is_fixed_changed_and_taken_back(desk: Desk, api: Session) -> None:
    status, body, _ = await call(api, "PUT", FIXED + "fd00::50", json={"mac": MAC, "name": "node1"})
    assert (status, body["address"], body["origin"]) == (200, "fd00::50", "api")
    assert offered(desk) == [["fd00::50"]]
    await call(api, "PUT", FIXED + "fd00:0::50", json={"mac": OTHER_MAC})
    assert (offered(desk, OTHER_MAC), offered(desk)) == ([["fd00::50"]], [["fd00::100"]])
    assert (await call(api, "DELETE", FIXED + "fd00::50"))[0] == 204
    assert offered(desk, OTHER_MAC) == [["fd00::101"]]
    assert (await call(api, "DELETE", FIXED + "fd00::50"))[0] == 404


async def test_what_is_said_outlives_the_daemon(desk: Desk, api: Session) -> None:
    await call(api, "PUT", "/v1/dhcp/subnets6/fd05::%2F64", json=SECOND)
    await call(api, "PUT", FIXED + "fd05::5", json={"mac": MAC})
    await desk.close()
    again = await Desk(desk.folder).open()
    assert offered(again, link="fd05::fe") == [["fd05::5"]]
    await again.close()


async def test_the_file_says_and_the_api_stands_over_it(desk: Desk, api: Session) -> None:
    assert offered(desk, PRINTER) == [["fd00::99"]]
    await call(api, "PUT", FIXED + "fd00::99", json={"mac": MAC})
    assert (offered(desk), offered(desk, PRINTER)) == ([["fd00::99"]], [["fd00::100"]])
    await call(api, "PUT", FIXED + "fd00::50", json={"mac": OTHER_MAC})
    _, body, _ = await call(api, "GET", "/v1/dhcp/reservations6")
    rows = [(row["address"], row["mac"], row["origin"]) for row in body["reservations6"]]
    assert rows == [("fd00::50", OTHER_MAC, "api"), ("fd00::99", MAC, "api")]
    _, body, _ = await call(api, "GET", "/v1/dhcp/reservations6?limit=1")
    assert body["next"] == "fd00::50"
    _, body, _ = await call(api, "GET", "/v1/dhcp/reservations6?after=fd00::50")
    assert [row["address"] for row in body["reservations6"]] == ["fd00::99"]
    await call(api, "DELETE", FIXED + "fd00::99")
    assert offered(desk, PRINTER) == [["fd00::99"]]
    status, body, _ = await call(api, "DELETE", FIXED + "fd00::99")
    assert (status, body["hint"]) == (404, "it comes from the configuration file")


WRONG: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "no machine": ("fd00::50", {}, 422, "one of them has to say which machine"),
    "no subnet": ("fd77::50", {"mac": MAC}, 422, "is in no subnet"),
    "the machine has another": ("fd00::50", {"mac": PRINTER}, 409, "has the fixed address fd00::99 already"),
    "another address in the body": ("fd00::50", {"mac": MAC, "address": "fd00::51"}, 400, "not the one of the path"),
    "no address": ("10.0.0.1", {"mac": MAC}, 400, "address: "),
}


@pytest.mark.parametrize(("address", "body", "status", "words"), WRONG.values(), ids=WRONG.keys())
async def test_what_cannot_be_fixed(api: Session, address: str, body: dict[str, Any], status: int, words: str) -> None:
    found, answer, _ = await call(api, "PUT", FIXED + address, json=body)
    assert found == status
    assert words in str(answer)


async def test_a_subnet_comes_changes_and_goes(desk: Desk, api: Session) -> None:
    seen: list[list[str]] = []
    desk.book6.subnets.follow(lambda subnets: seen.append([each.network for each in subnets]))
    path = "/v1/dhcp/subnets6/fd05::%2F64"
    assert (await call(api, "PUT", path, json=SECOND))[0] == 200
    assert offered(desk, link="fd05::fe") == [["fd05::10"]]
    await call(api, "PUT", path, json=SECOND | {"pools": ["fd05::30"]})
    assert offered(desk, OTHER_MAC, link="fd05::fe") == [["fd05::30"]]
    _, body, _ = await call(api, "GET", "/v1/dhcp/subnets6")
    rows = [(row["network"], row["origin"]) for row in body["subnets6"]]
    assert rows == [("fd00::/64", "file"), ("fd05::/64", "api")]
    assert (await call(api, "DELETE", path))[0] == 204
    assert (await call(api, "DELETE", path))[0] == 404
    assert seen == [["fd00::/64"], ["fd00::/64", "fd05::/64"], ["fd00::/64", "fd05::/64"], ["fd00::/64"]]
    status, body, _ = await call(api, "PUT", "/v1/dhcp/subnets6/x", json=SECOND)
    assert (status, "that of the path not" in str(body)) == (400, True)


async def test_a_subnet_that_does_not_fit(api: Session) -> None:
    wide = SECOND | {"network": "fd00::/48", "name": "wide", "pools": ["fd00:0:0:5::1"]}
    status, body, _ = await call(api, "PUT", "/v1/dhcp/subnets6/wide", json=wide)
    assert (status, "the networks overlap" in str(body)) == (422, True)


async def test_fixed_addresses_are_not_made_those_of_strangers(api: Session) -> None:
    strangers = {
        "network": "fd00::/64",
        "name": "rack6",
        "interface": "",
        "unknown": "quarantine",
        "quarantine_pools": ["fd00::90-fd00::9f"],
    }
    status, body, _ = await call(api, "PUT", "/v1/dhcp/subnets6/rack6", json=strangers)
    assert (status, "fd00::99 is reserved, and is in quarantine_pools" in str(body)) == (422, True), body


async def test_leases_of_a_subnet_that_comes_again_count(desk: Desk, api: Session) -> None:
    path = "/v1/dhcp/subnets6/fd05::%2F64"
    await call(api, "PUT", path, json=SECOND)
    question = Says(duid_ll()).message(Type.REQUEST, ia(), server=SERVER_DUID)
    found = ask(desk.server6.site, by_relay(question, "fd05::fe", link_local(MAC)), RELAYED)
    await desk.server6._leases.save(list(found.store))
    await call(api, "DELETE", path)
    assert desk.server6.leases() == []
    await call(api, "PUT", path, json=SECOND | {"name": ""})
    (lease,) = desk.server6.leases()
    assert (lease.key.hex(":"), lease.state, outcome(found)) == (MAC, LeaseState.BOUND, "REPLY fd05::10")


async def test_a_subnet_that_becomes_larger_knows_the_leases_there(desk: Desk, api: Session) -> None:
    half = {"network": "fd05::/65", "interface": "", "name": "half", "pools": ["fd05::10-fd05::20"]}
    other = half | {"network": "fd05:0:0:0:8000::/65", "name": "other", "pools": ["fd05:0:0:0:8000::10"]}
    for each in (half, other):
        assert (await call(api, "PUT", f"/v1/dhcp/subnets6/{each['name']}", json=each))[0] == 200
    question = Says(duid_ll()).message(Type.REQUEST, ia(), server=SERVER_DUID)
    found = ask(desk.server6.site, by_relay(question, "fd05:0:0:0:8000::fe", link_local(MAC)), RELAYED)
    await desk.server6._leases.save(list(found.store))
    await call(api, "DELETE", "/v1/dhcp/subnets6/other")
    assert desk.server6.leases() == []
    await call(api, "PUT", "/v1/dhcp/subnets6/half", json=half | {"network": "fd05::/64"})
    assert desk.server6.lease_of("fd05:0:0:0:8000::10") == MAC


async def test_what_the_store_refuses_is_not_live(desk: Desk) -> None:
    await desk.db.close()
    with pytest.raises(ProvisionerError):
        await desk.book6.set_reservation(Reservation6(address="fd00::50", mac=MAC))
    assert offered(desk) == [["fd00::100"]]
    assert desk.book6.reservations("", 9)[0][0] == CONFIG.reservations6[0]


# imports

DUID, OTHER = "00:04:" + ":".join(["ab"] * 16), "00:04:" + ":".join(["cd"] * 16)


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
    again.server6.site.topology.take_over(await again.leases6.load(), again.server6.now())
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


async def test_an_import_that_the_store_refuses_is_not_live(desk: Desk, api: Session) -> None:
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


async def test_a_declined_address_of_ipv6_is_freed_alike(desk: Desk, api: Session) -> None:
    net = next(iter(desk.server6.site.topology))
    await desk.leases6.save([net.pool.decline(ip("fd00::100"), desk.server6.now(), 600, "odd")])
    assert (await call(api, "POST", "/v1/dhcp/leases/fd00::100/free"))[0] == 204
    _, body, _ = await call(api, "GET", "/v1/dhcp/leases?family=6")
    assert [(row["address"], row["state"]) for row in body["leases"]] == [("fd00::100", "expired")]
    status, body, _ = await call(api, "POST", "/v1/dhcp/leases/fd00::100/free")
    assert (status, "not out of use" in str(body)) == (404, True)
    assert (await call(api, "POST", "/v1/dhcp/leases/fd00:::1/free"))[0] == 400
