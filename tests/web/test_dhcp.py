"""DHCP in the API, over its real socket, its real store and a real server without a wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from provisioner.dhcp.adopt import Kind, Want
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import address
from provisioner.dhcp.subnets import Dhcp
from provisioner.store.leases6 import LeaseStore6
from tests.dhcp.clients import MAC, NOW, OTHER_MAC, ask, discover, ip, said, subnet
from tests.web.dhcp import CONFIG, Desk
from tests.web.test_api import Session, call

KEY = bytes.fromhex(MAC.replace(":", ""))
PRINTER = "52:54:00:00:00:99"


def session_of(desk: Desk) -> Session:
    return aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(str(desk.socket)))


@pytest.fixture
async def api(desk: Desk) -> AsyncIterator[Session]:
    async with session_of(desk) as session:
        yield session


async def take_over(
    api: Session, *entries: dict[str, Any], **query: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    body = b"\n".join(json.dumps(entry).encode() for entry in entries)
    async with api.post("/v1/dhcp/import", data=body, params=query) as answer:
        lines = [json.loads(line) for line in (await answer.read()).splitlines()]
        assert answer.status == 200, lines
        return lines[:-1], lines[-1]


def lease(address: str = "10.0.0.105", mac: str = MAC, **more: Any) -> dict[str, Any]:
    return {"kind": "lease", "address": address, "mac": mac, "until": NOW + 1000, "since": NOW - 10, **more}


def fixed(address: str = "10.0.0.50", mac: str = MAC, **more: Any) -> dict[str, Any]:
    return {"kind": "reservation", "address": address, "mac": mac, **more}


def relayed(desk: Desk, mac: str, wanted: str = "") -> str:
    """What a machine behind the relay is offered."""
    options = {Opt.REQUESTED_ADDRESS: ip(wanted).to_bytes(4, "big")} if wanted else {}
    return address(said(ask(desk.server.site, discover(mac, options, giaddr="10.0.0.254"))).yiaddr)


# reservations


async def test_reserve_look_and_take_back(desk: Desk, api: Session) -> None:
    status, body, _ = await call(api, "PUT", "/v1/dhcp/reservations/52-54-00-00-00-01", json={"address": "10.0.0.50"})
    assert (status, body["mac"], body["address"], body["origin"]) == (200, MAC, "10.0.0.50", "api")
    assert said(ask(desk.server.site, discover(giaddr="10.0.0.254"))).yiaddr == ip("10.0.0.50")
    _, body, _ = await call(api, "GET", "/v1/dhcp/reservations")
    assert [(row["mac"], row["origin"]) for row in body["reservations"]] == [(MAC, "api"), (PRINTER, "file")]
    assert (await call(api, "DELETE", f"/v1/dhcp/reservations/{MAC}"))[0] == 204
    assert said(ask(desk.server.site, discover(giaddr="10.0.0.254"))).yiaddr == ip("10.0.0.100")


async def test_what_was_reserved_outlives_the_daemon(desk: Desk, api: Session) -> None:
    await call(api, "PUT", f"/v1/dhcp/reservations/{MAC}", json={"address": "10.0.0.50", "options": {"42": "10.0.0.9"}})
    await call(api, "PUT", f"/v1/dhcp/reservations/{PRINTER}", json={"address": "10.0.0.98"})
    await desk.close()
    again = await Desk(desk.folder).open()
    assert said(ask(again.server.site, discover(giaddr="10.0.0.254"))).yiaddr == ip("10.0.0.50")
    assert said(ask(again.server.site, discover(PRINTER, giaddr="10.0.0.254"))).yiaddr == ip("10.0.0.98")
    async with session_of(again) as later:
        assert (await call(later, "DELETE", f"/v1/dhcp/reservations/{PRINTER}"))[0] == 204
        assert said(ask(again.server.site, discover(PRINTER, giaddr="10.0.0.254"))).yiaddr == ip("10.0.0.99")
    await again.close()


async def test_a_reservation_that_does_not_fit_any_more_is_left_out(
    desk: Desk, api: Session, caplog: pytest.LogCaptureFixture
) -> None:
    await call(api, "PUT", f"/v1/dhcp/reservations/{MAC}", json={"address": "10.0.0.50"})
    await call(api, "PUT", "/v1/dhcp/subnets/b", json={"network": "10.5.0.0/24", "name": "b", "unknown": "ignore"})
    await desk.close()
    again = await Desk(desk.folder, Dhcp(subnets=(subnet(network="10.5.0.0/16", pools=(), unknown="ignore"),))).open()  # type: ignore[arg-type]
    assert again.book.reservations("", 9) == []
    assert caplog.text.count("dhcp.setting-unfit") == 2
    await again.close()


REFUSED: dict[str, tuple[str, str, dict[str, Any] | None, int, str]] = {
    "an address in no subnet": ("PUT", f"reservations/{MAC}", {"address": "10.9.0.5"}, 422, "10.9.0.5 is in no subnet"),
    "an address that is none": ("PUT", f"reservations/{MAC}", {"address": "10.0.0"}, 422, "address: Expected 4 octets"),
    "another machine's address": (
        "PUT",
        f"reservations/{MAC}",
        {"address": "10.0.0.99"},
        409,
        f"reserved for {PRINTER}",
    ),
    "the router's address": (
        "PUT",
        f"reservations/{MAC}",
        {"address": "10.0.0.1"},
        422,
        "10.0.0.1 is the subnet's router",
    ),
    "the broadcast address": ("PUT", f"reservations/{MAC}", {"address": "10.0.0.255"}, 422, "broadcast address"),
    "an unknown profile": ("PUT", f"reservations/{MAC}", {"profile": "x"}, 422, "profile: 'x'"),
    "an unknown key": ("PUT", f"reservations/{MAC}", {"adress": "10.0.0.5"}, 422, "adress"),
    "another hardware address": ("PUT", f"reservations/{MAC}", {"mac": OTHER_MAC}, 400, "not the one of the path"),
    "no hardware address": ("PUT", "reservations/x", {}, 422, "not a MAC address"),
    "nothing to take back": ("DELETE", f"reservations/{MAC}", None, 404, "nothing was reserved here"),
    "the file's to take back": ("DELETE", f"reservations/{PRINTER}", None, 404, "comes from the configuration file"),
    "a body that is none": ("PUT", f"reservations/{MAC}", [], 400, "expected object, got array"),  # type: ignore[dict-item]
    "a subnet called otherwise": ("PUT", "subnets/b", {"network": "10.5.0.0/24"}, 400, "called '10.5.0.0/24'"),
    "a subnet that overlaps": (
        "PUT",
        "subnets/b",
        {"network": "10.0.0.0/16", "name": "b", "unknown": "ignore"},
        422,
        "the networks overlap",
    ),
    "subnets that are none": ("POST", "subnets", {"subnets": []}, 400, "wants a list as subnets, of one at least"),
    "subnets of another family": ("POST", "subnets", {"subnets6": [{}]}, 400, "wants a list as subnets"),
    "one of two with an unknown key": ("POST", "subnets", {"subnets": [{}, {"poolz": []}]}, 422, "poolz"),
    "a subnet without a pool": ("PUT", "subnets/b", {"network": "10.5.0.0/24", "name": "b"}, 422, "no pool"),
    "a subnet of the file": ("DELETE", "subnets/rack1", None, 404, "no subnet 'rack1' was made here"),
    "an address that is in use": ("POST", "leases/10.0.0.105/free", None, 404, "not out of use"),
    "a state that is none": ("GET", "leases?state=odd", None, 400, "state: 'odd'"),
    "a network that is none": ("GET", "leases?network=odd", None, 400, "network: "),
}


@pytest.mark.parametrize(("method", "path", "body", "status", "text"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused(api: Session, method: str, path: str, body: Any, status: int, text: str) -> None:
    got, problem, _ = await call(api, method, f"/v1/dhcp/{path}", **({} if body is None else {"json": body}))
    assert (got, text in str(problem)) == (status, True), problem


# subnets


async def test_a_subnet_comes_and_goes_and_its_leases_stay(desk: Desk, api: Session) -> None:
    second = {"network": "10.5.0.0/24", "name": "b", "pools": ["10.5.0.10-10.5.0.20"]}
    assert (await call(api, "PUT", "/v1/dhcp/subnets/b", json=second))[0] == 200
    rows, _ = await take_over(api, lease("10.5.0.15"))
    assert rows[0]["what"] == "new"
    assert desk.holders("10.5.0.15") == [MAC]
    assert (await call(api, "DELETE", "/v1/dhcp/subnets/b"))[0] == 204
    assert desk.holders("10.5.0.15") == [None]
    await call(api, "PUT", "/v1/dhcp/subnets/c", json=second | {"name": "c", "pools": ["10.5.0.10-10.5.0.15"]})
    assert desk.holders("10.5.0.15") == [MAC]
    _, body, _ = await call(api, "GET", "/v1/dhcp/subnets")
    assert [(row["network"], row["origin"]) for row in body["subnets"]] == [
        ("10.0.0.0/24", "file"),
        ("10.5.0.0/24", "api"),
    ]
    await desk.close()
    again = await Desk(desk.folder).open()
    assert again.holders("10.5.0.15") == [MAC]
    await again.close()


async def test_a_subnet_of_the_file_is_changed_and_changed_back(desk: Desk, api: Session) -> None:
    seen: list[list[str]] = []
    desk.book.subnets.follow(lambda subnets: seen.append([each.pools[0] for each in subnets]))
    larger = {"network": "10.0.0.0/24", "name": "rack1", "pools": ["10.0.0.100-10.0.0.199"]}
    rows, done = await take_over(api, lease("10.0.0.150"))
    assert (rows[0]["what"], done["applied"]) == ("conflict", False)
    await call(api, "PUT", "/v1/dhcp/subnets/rack1", json=larger)
    rows, done = await take_over(api, lease("10.0.0.150"))
    assert (rows[0]["what"], done["applied"]) == ("new", True)
    await call(api, "DELETE", "/v1/dhcp/subnets/rack1")
    assert seen == [["10.0.0.100-10.0.0.109"], ["10.0.0.100-10.0.0.199"], ["10.0.0.100-10.0.0.109"]]
    (net,) = desk.server.site.topology
    assert net.config == CONFIG.subnets[0]


async def test_a_subnet_that_becomes_larger_knows_the_leases_there(desk: Desk, api: Session) -> None:
    """Those of a subnet that was there before; of its own addresses memory knows more than the store."""
    second = {"network": "10.0.1.0/24", "name": "b", "pools": ["10.0.1.10-10.0.1.20"]}
    larger = {"network": "10.0.0.0/23", "name": "rack1", "pools": ["10.0.0.100-10.0.0.109", "10.0.1.10-10.0.1.20"]}
    await call(api, "PUT", "/v1/dhcp/subnets/b", json=second)
    await take_over(api, lease("10.0.1.15"), lease("10.0.0.105", OTHER_MAC))
    await call(api, "DELETE", "/v1/dhcp/subnets/b")
    desk.server.site.pools().__next__().release(bytes.fromhex(OTHER_MAC.replace(":", "")), ip("10.0.0.105"), NOW)
    assert (await call(api, "PUT", "/v1/dhcp/subnets/rack1", json=larger))[0] == 200
    assert desk.holders("10.0.1.15", "10.0.0.105") == [MAC, None]
    assert relayed(desk, OTHER_MAC, "10.0.1.15") != "10.0.1.15"


async def test_a_subnet_of_the_file_that_is_larger_again_knows_the_leases_there(tmp_path: Path) -> None:
    config = replace(CONFIG, subnets=(subnet(name="rack1", network="10.0.0.0/23", interface=""),))
    desk = await Desk(tmp_path, config).open()
    halves = {
        "rack1": {"network": "10.0.0.0/24", "pools": ["10.0.0.100-10.0.0.109"]},
        "b": {"network": "10.0.1.0/24", "pools": ["10.0.1.10-10.0.1.20"]},
    }
    async with session_of(desk) as api:
        for name, half in halves.items():
            assert (await call(api, "PUT", f"/v1/dhcp/subnets/{name}", json=half | {"name": name}))[0] == 200
        await take_over(api, lease("10.0.1.15"))
        await call(api, "DELETE", "/v1/dhcp/subnets/b")
        assert (await call(api, "DELETE", "/v1/dhcp/subnets/rack1"))[0] == 204
    assert desk.holders("10.0.1.15") == [MAC]
    await desk.close()


# leases


async def test_leases_by_page_and_by_what_they_are(desk: Desk, api: Session) -> None:
    await take_over(api, *(lease(f"10.0.0.{100 + n}", f"52:54:00:00:00:0{n}", name=f"node{n}") for n in range(1, 6)))
    released = desk.server.site.pools().__next__().release(KEY, ip("10.0.0.101"), NOW + 1)
    assert released is not None
    await desk.book._leases.save([released, *desk.server.site.decline(ip("10.0.0.109"), NOW, "the printer uses it")])
    _, body, _ = await call(api, "GET", "/v1/dhcp/leases?limit=4")
    assert [row["address"] for row in body["leases"]] == [f"10.0.0.10{n}" for n in range(1, 5)]
    _, body, _ = await call(api, "GET", f"/v1/dhcp/leases?limit=4&after={body['next']}")
    assert [(row["address"], row["state"]) for row in body["leases"]] == [
        ("10.0.0.105", "active"),
        ("10.0.0.109", "declined"),
    ]
    assert body["next"] is None
    assert (body["leases"][1]["mac"], body["leases"][1]["reason"]) == ("", "the printer uses it")
    counts = {"active": 4, "released": 1, "declined": 1, "expired": 0}
    for state, count in counts.items():
        assert len((await call(api, "GET", f"/v1/dhcp/leases?state={state}"))[1]["leases"]) == count
    _, body, _ = await call(api, "GET", "/v1/dhcp/leases?mac=52:54:00:00:00:02&network=10.0.0.0/24")
    assert [(row["name"], row["subnet"]) for row in body["leases"]] == [("node2", "rack1")]


async def test_leases_of_dhcpv6(desk: Desk, api: Session) -> None:
    base = 0xFD00 << 112
    kept = [
        Lease(base + n, KEY + bytes((n,)), "six", NOW + 9, name=f"n{n}", relay=base, client_id=b"\xff")
        for n in range(3)
    ]
    await LeaseStore6(desk.db).save([*kept, Lease(2**128 - 1, b"other!", "six", NOW - 9)])
    _, body, _ = await call(api, "GET", "/v1/dhcp/leases?family=6&limit=2")
    assert [(row["address"], row["mac"], row["subnet"]) for row in body["leases"]] == [
        ("fd00::", MAC, "six"),
        ("fd00::1", MAC, "six"),
    ]
    assert (body["next"], body["leases"][0]["relay"]) == ("fd00::1", "fd00::")
    _, body, _ = await call(api, "GET", "/v1/dhcp/leases?family=6&limit=2&after=fd00::1")
    assert [(row["name"], row["state"]) for row in body["leases"]] == [("n2", "active"), ("", "expired")]
    _, body, _ = await call(api, "GET", f"/v1/dhcp/leases?network=fd00::/16&mac={MAC}&state=active")
    assert len(body["leases"]) == 3
    assert (await call(api, "GET", "/v1/dhcp/leases?family=5"))[0] == 400
    after_all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
    assert (await call(api, "GET", f"/v1/dhcp/leases?family=6&after={after_all}"))[1]["leases"] == []


async def test_a_declined_address_is_freed_before_its_time(desk: Desk, api: Session) -> None:
    await desk.book._leases.save(desk.server.site.decline(ip("10.0.0.100"), NOW, "odd"))
    assert (await call(api, "POST", "/v1/dhcp/leases/10.0.0.100/free"))[0] == 204
    _, body, _ = await call(api, "GET", "/v1/dhcp/leases")
    assert [row["state"] for row in body["leases"]] == ["expired"]
    assert {relayed(desk, f"52:54:00:00:01:0{n}") for n in range(10)} >= {"10.0.0.100"}


# imports


async def test_an_import_is_live_durable_and_the_same_again(desk: Desk, api: Session) -> None:
    entries = (
        fixed(name="one"),
        lease("10.0.0.50"),
        lease(mac=OTHER_MAC, name="two", client_id="0152", circuit_id="6765"),
    )
    rows, done = await take_over(api, *entries)
    assert [(row["kind"], row["what"]) for row in rows] == [("reservation", "new"), ("lease", "new"), ("lease", "new")]
    assert done == {"event": "done", "applied": True, "counts": {"new": 3}}
    assert desk.holders("10.0.0.50", "10.0.0.105") == [MAC, OTHER_MAC]
    await desk.close()
    again = await Desk(desk.folder).open()
    assert again.holders("10.0.0.50", "10.0.0.105") == [MAC, OTHER_MAC]
    async with session_of(again) as later:
        rows, done = await take_over(later, *entries)
        assert (done["counts"], done["applied"]) == ({"same": 3}, True)
        (row,) = (await call(later, "GET", f"/v1/dhcp/leases?mac={OTHER_MAC}"))[1]["leases"]
        assert (row["name"], row["client_id"], row["circuit_id"]) == ("two", "01:52", "ge")
    await again.close()


async def test_all_or_nothing(desk: Desk, api: Session) -> None:
    entries = (fixed(), lease(mac=OTHER_MAC), lease("10.9.0.5", "52:54:00:00:00:03"))
    rows, done = await take_over(api, *entries)
    assert ([row["what"] for row in rows], done["applied"]) == (["new", "new", "conflict"], False)
    assert (desk.holders("10.0.0.105"), desk.server.layers.merged(MAC)) == ([None], None)  # type: ignore[arg-type]
    assert relayed(desk, OTHER_MAC, "10.0.0.105") == "10.0.0.105"  # it was held for a moment
    rows, done = await take_over(api, *entries, keep_going="yes")
    assert (done["applied"], done["counts"]) == (True, {"new": 2, "conflict": 1})
    assert desk.server.layers.merged(MAC) is not None  # type: ignore[arg-type]


async def test_a_dry_run_says_the_same_and_changes_nothing(desk: Desk, api: Session) -> None:
    rows, done = await take_over(api, fixed(), lease(mac=OTHER_MAC), dry_run="yes")
    assert ([row["what"] for row in rows], done["applied"]) == (["new", "new"], False)
    assert (desk.holders("10.0.0.105"), list(desk.server.layers)[1:]) == ([None], [])


async def test_what_the_store_refuses_is_not_live(desk: Desk, api: Session) -> None:
    trigger = "CREATE TRIGGER no BEFORE INSERT ON lease BEGIN SELECT RAISE(FAIL, 'no'); END"
    await desk.db.submit(lambda cursor: cursor.execute(trigger) and None)
    async with api.post(
        "/v1/dhcp/import", data=json.dumps(fixed()) + "\n" + json.dumps(lease(mac=OTHER_MAC))
    ) as answer:
        assert answer.status == 503, await answer.read()
    assert (desk.holders("10.0.0.105"), list(desk.server.layers)[1:]) == ([None], [])
    assert await desk.book._store.settings() == ([], [])
    pool = next(iter(desk.server.site.pools()))
    assert pool.offered(bytes.fromhex(OTHER_MAC.replace(":", ""))) is None


async def test_a_machine_that_asks_meanwhile_keeps_what_it_got(desk: Desk, api: Session) -> None:
    """The address is held for it while the import becomes durable; what it gets for longer is not cut short."""
    taken = desk.imports.take_over
    pool = next(iter(desk.server.site.pools()))
    longer = Lease(ip("10.0.0.105"), KEY, pool.name, NOW + 9999)

    class Slow:
        async def take_over(self, *_: Any) -> None:
            assert pool.free_for(KEY, longer.ip, NOW)
            assert not pool.free_for(b"other1", longer.ip, NOW)
            pool.bind(longer)

    desk.imports._store = Slow()  # type: ignore[assignment]
    result = await taken([Want(Kind.LEASE, longer.ip, KEY, until=NOW + 10)])
    assert (result.applied, pool.of(KEY)) == (True, longer)


BAD = {
    "not JSON": (b"{", "line 1: the body is not JSON"),
    "an unknown key": (b'\n{"kind": "lease", "adress": ""}', "line 2: body: unknown key"),
    "a kind that is none": (b'{"kind": "odd"}', "line 1: body.kind"),
    "an address that is none": (b'{"kind": "lease", "address": "10"}', "line 1: address: Expected 4 octets"),
    "a hardware address that is none": (b'{"kind": "lease", "address": "10.0.0.1", "mac": "zz"}', "line 1: non-hex"),
    "an option that is none": (
        b'{"kind": "reservation", "options": {"colour": "red"}}',
        "line 1: 'colour' is no option",
    ),
    "one option twice": (
        b'{"kind": "reservation", "options": {"3": "10.0.0.1", "routers": "10.0.0.2"}}',
        "line 1: options: 3 and routers are one option",
    ),
    "the end of days": (b'{"kind": "lease", "until": 1e300}', "line 1: body.until"),
}


@pytest.mark.parametrize(("body", "text"), BAD.values(), ids=BAD.keys())
async def test_a_line_that_is_none(desk: Desk, api: Session, body: bytes, text: str) -> None:
    status, problem, _ = await call(api, "POST", "/v1/dhcp/import", data=body)
    assert (status, problem["detail"].startswith(text)) == (400, True), problem


async def test_a_flag_that_is_none(api: Session) -> None:
    assert (await call(api, "POST", "/v1/dhcp/import?dry_run=1", data=b""))[0] == 400


async def test_the_loop_turns_while_thousands_are_taken_over(desk: Desk, api: Session) -> None:
    wide = {"network": "10.0.0.0/8", "name": "wide", "pools": ["10.1.0.0-10.1.255.255"]}
    await call(api, "DELETE", "/v1/dhcp/subnets/rack1")
    desk.server.remove_subnet("rack1")
    desk.server.set_subnet(subnet(**{**wide, "pools": tuple(wide["pools"]), "interface": ""}))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        turning = group.create_task(turn())
        entries = [lease(f"10.1.{n >> 8}.{n & 255}", f"52:54:00:01:{n >> 8:02x}:{n & 255:02x}") for n in range(2000)]
        rows, done = await take_over(api, *entries)
        turning.cancel()
    assert (done["applied"], len(rows)) == (True, 2000)
    assert turns > 40  # judged, written out and applied in slices of a hundred
