"""Subnets of either family as they are changed: where the store does not take it, and after a restart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from provisioner.dhcp.layers import Origin
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.subnets import Dhcp, Reservation
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.errors import ConfigError, ListenError, NotFoundError, StoreError
from tests.dhcp.clients import NOW, subnet
from tests.dhcp.v6.clients import MAC, OTHER_MAC
from tests.dhcp.v6.clients import subnet as subnet6
from tests.web.dhcp import Desk

FULL = "CREATE TRIGGER full BEFORE INSERT ON dhcp_setting BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
SMALLER = {
    "IPv4": {"network": "10.0.0.0/25", "pools": ("10.0.0.10-10.0.0.19",)},
    "IPv6": {"network": "fd00::/120", "pools": ("fd00::10-fd00::19",)},
}


@pytest.mark.parametrize(("family", "changes"), SMALLER.items(), ids=SMALLER.keys())
async def test_a_subnet_that_could_not_be_made_smaller_still_has_all_its_leases(
    tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    """Also those that are so new that the store has not got them yet."""
    desk = await Desk(tmp_path).open()
    server: Any = desk.server if family == "IPv4" else desk.server6
    book: Any = desk.book if family == "IPv4" else desk.book6
    (net,) = server.site.topology
    low = net.pool.ranges[0][0]
    held = net.pool.bind(Lease(low, b"\x52\x54\0\0\0\1", net.pool.name, NOW + 100, since=NOW))
    await desk.db.submit(lambda cursor: cursor.execute(FULL) and None)
    with pytest.raises(StoreError, match="disk is full"):
        await book.subnets.set(replace(net.config, **changes))
    assert [each.network for each in server.subnets()] == [net.config.network]
    assert server.leases() == list(held)
    await desk.close()


A = {
    "IPv4": subnet(name="a", network="10.0.9.0/24", interface="", pools=("10.0.9.100-10.0.9.120",), router=()),
    "IPv6": subnet6(name="a", network="fd09::/64", interface="", pools=("fd09::100",)),
}
Z = {
    "IPv4": subnet(name="z", network="10.0.8.0/24", interface="", pools=("10.0.8.100-10.0.8.120",), router=()),
    "IPv6": subnet6(name="z", network="fd08::/64", interface="", pools=("fd08::100",)),
}
ELSEWHERE: dict[str, dict[str, Any]] = {
    "IPv4": {"network": "10.0.10.0/24", "pools": ("10.0.10.100-10.0.10.120",)},
    "IPv6": {"network": "fd10::/64", "pools": ("fd10::100",)},
}


def served(desk: Desk, family: str) -> dict[str, str]:
    server: Any = desk.server if family == "IPv4" else desk.server6
    return {each.title: each.network for each in server.subnets()}


def subnets_of(desk: Desk, family: str) -> Any:
    return desk.book.subnets if family == "IPv4" else desk.book6.subnets


GONE = "CREATE TRIGGER full BEFORE DELETE ON dhcp_setting BEGIN SELECT RAISE(FAIL, 'disk is full'); END"


@pytest.mark.parametrize("of_file", [True, False], ids=["a subnet of the file", "a subnet of the operator's"])
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_a_subnet_that_could_not_be_taken_back_still_has_all_its_leases(
    tmp_path: Path, family: str, of_file: bool
) -> None:
    file = Dhcp(subnets=(Z["IPv4"],), subnets6=(Z["IPv6"],)) if of_file else Dhcp()
    desk = await Desk(tmp_path, file).open()
    server: Any = desk.server if family == "IPv4" else desk.server6
    await subnets_of(desk, family).set(replace(Z[family], **ELSEWHERE[family]))
    (net,) = server.site.topology
    low = net.pool.ranges[0][0]
    held = net.pool.bind(Lease(low, b"\x52\x54\0\0\0\1", net.pool.name, NOW + 100, since=NOW))
    await desk.db.submit(lambda cursor: cursor.execute(GONE) and None)
    with pytest.raises(StoreError, match="disk is full"):
        await subnets_of(desk, family).remove("z")
    assert served(desk, family) == {"z": ELSEWHERE[family]["network"]}
    assert server.leases() == list(held)
    await desk.close()


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_what_cannot_be_served_takes_nothing_back(tmp_path: Path, family: str) -> None:
    """The file's interface is gone, which was why the operator had named another."""
    on_gone = replace(Z[family], interface="gone0")
    file = Dhcp(subnets=(on_gone,)) if family == "IPv4" else Dhcp(subnets6=(on_gone,))  # type: ignore[arg-type]
    desk = await Desk(tmp_path, file).open()
    await subnets_of(desk, family).set(replace(on_gone, interface="bond0"))
    links = desk.server.links if family == "IPv4" else desk.server6.links
    links.start(())
    with pytest.raises(ListenError, match="gone0"):
        await subnets_of(desk, family).remove("z")
    assert [each.interface for each, _ in subnets_of(desk, family).all()] == ["bond0"]
    store = desk.book._store
    _, stored = await (store.settings() if family == "IPv4" else store.settings6())
    assert [each.interface for each in stored] == ["bond0"]
    links.close()
    await desk.close()


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_a_subnet_that_took_the_place_of_another_has_it_after_a_restart(tmp_path: Path, family: str) -> None:
    """It fits what was said of the other one, and not what the file says of that."""
    a, z = A[family], Z[family]
    file = Dhcp(subnets=(A["IPv4"], Z["IPv4"]), subnets6=(A["IPv6"], Z["IPv6"]))
    desk = await Desk(tmp_path, file).open()
    await subnets_of(desk, family).set(replace(z, **ELSEWHERE[family]))
    await subnets_of(desk, family).set(replace(a, network=z.network, pools=z.pools))
    before = served(desk, family)
    await desk.close()
    again = await Desk(tmp_path, file).open()
    assert served(again, family) == before == {"a": z.network, "z": ELSEWHERE[family]["network"]}
    await again.close()


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_what_does_not_fit_the_file_any_more_is_left_out_and_can_be_taken_back(
    tmp_path: Path, family: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With what the file says of that one again, another one may not fit any more."""
    a, z = A[family], Z[family]
    desk = await Desk(tmp_path, Dhcp(subnets=(A["IPv4"], Z["IPv4"]), subnets6=(A["IPv6"], Z["IPv6"]))).open()
    await subnets_of(desk, family).set(replace(z, **ELSEWHERE[family]))
    await subnets_of(desk, family).set(replace(a, network=z.network, pools=z.pools))
    await desk.close()
    b = {key: replace(Z[key], name="b", **ELSEWHERE[key]) for key in A}
    file = Dhcp(subnets=(A["IPv4"], Z["IPv4"], b["IPv4"]), subnets6=(A["IPv6"], Z["IPv6"], b["IPv6"]))
    again = await Desk(tmp_path, file).open()
    assert served(again, family) == {each.title: each.network for each in (a, z, b[family])}
    assert caplog.text.count("dhcp.setting-unfit") == 2
    await subnets_of(again, family).remove("a")
    with pytest.raises(NotFoundError):
        await subnets_of(again, family).remove("a")
    await again.close()


WIRE: dict[str, tuple[Any, Any]] = {
    family: tuple(
        replace(each[family], interface="eth1", shared_network="w", mode=each[family].mode.__class__("off"))
        for each in (A, Z)
    )
    for family in A
}
"""Two subnets of one wire, as a take-over begins."""


def on_wire() -> Dhcp:
    """A file with the wire of either family."""
    return Dhcp(subnets=WIRE["IPv4"], subnets6=WIRE["IPv6"])


def speaking(family: str, **changes: Any) -> list[Any]:
    """The same two as they are to be: the daemon answers."""
    return [replace(each, **{"mode": each.mode.__class__("authoritative"), **changes}) for each in WIRE[family]]


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_subnets_of_one_wire_are_changed_together(tmp_path: Path, family: str) -> None:
    desk = await Desk(tmp_path, on_wire()).open()
    book, wanted = subnets_of(desk, family), speaking(family)
    with pytest.raises(ConfigError) as refused:
        await book.set(wanted[0])
    assert "they share w, but differ in mode: change them together" in refused.value.faults[0]
    told: list[Any] = []
    book.follow(told.append)
    await book.set(*wanted)
    assert [[each.mode for each in seen] for seen in told] == [["off", "off"], ["authoritative"] * 2]
    before = served(desk, family)
    await desk.close()
    again = await Desk(tmp_path, on_wire()).open()
    assert served(again, family) == before
    assert [(each.mode, origin) for each, origin in subnets_of(again, family).all()] == [
        ("authoritative", Origin.OPERATOR)
    ] * 2
    await again.close()


TOGETHER: dict[str, tuple[Callable[[Any, Any], tuple[Any, Any]], str]] = {
    "the second is at fault": (lambda a, z: (a, replace(z, lease_s=1)), "lease_s"),
    "they differ": (lambda a, z: (a, replace(z, mode=z.mode.__class__("off"))), "differ in mode"),
    "one of them twice": (lambda a, z: (a, replace(z, name="a")), "both are called a"),
    "one takes the other's place": (
        lambda a, z: (
            replace(a, network=z.network, pools=z.pools),
            replace(z, **ELSEWHERE["IPv6" if ":" in z.network else "IPv4"]),
        ),
        "a is to have addresses of z: change z first",
    ),
}


@pytest.mark.parametrize(("change", "fault"), TOGETHER.values(), ids=TOGETHER.keys())
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_subnets_that_do_not_go_together_are_left_as_they_were(
    tmp_path: Path, family: str, change: Callable[[Any, Any], tuple[Any, Any]], fault: str
) -> None:
    desk = await Desk(tmp_path, on_wire()).open()
    with pytest.raises(ConfigError) as refused:
        await subnets_of(desk, family).set(*change(*speaking(family)))
    assert fault in "; ".join(refused.value.faults)
    assert served(desk, family) == {each.title: each.network for each in WIRE[family]}
    assert {each.mode for each, _ in subnets_of(desk, family).all()} == {"off"}
    await desk.close()


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
async def test_where_one_of_several_cannot_be_served_none_is_changed(tmp_path: Path, family: str) -> None:
    a, z = A[family], Z[family]
    file = Dhcp(subnets=(A["IPv4"], Z["IPv4"]), subnets6=(A["IPv6"], Z["IPv6"]))
    desk = await Desk(tmp_path, file).open()
    server: Any = desk.server if family == "IPv4" else desk.server6
    server.links.start(())
    (net, _) = server.site.topology
    low = net.pool.ranges[0][0]
    held = net.pool.bind(Lease(low, b"\x52\x54\0\0\0\1", net.pool.name, NOW + 100, since=NOW))
    with pytest.raises(ListenError, match="gone0"):
        await subnets_of(desk, family).set(replace(a, **ELSEWHERE[family]), replace(z, interface="gone0"))
    assert served(desk, family) == {"a": a.network, "z": z.network}
    assert server.leases() == list(held)
    server.links.close()
    await desk.close()


async def test_fixed_addresses_that_changed_hands_are_theirs_after_a_restart(tmp_path: Path) -> None:
    """What the file says of an address holds no more for its machine once the operator gave it to another."""
    file = Dhcp(subnets6=(subnet6(interface=""),), reservations6=(Reservation6(address="fd00::18", mac=MAC),))
    desk = await Desk(tmp_path, file).open()
    await desk.book6.set_reservation(Reservation6(address="fd00::18", mac=OTHER_MAC))
    await desk.book6.set_reservation(Reservation6(address="fd00::17", mac=MAC))
    before = desk.book6.reservations("", 9)
    await desk.close()
    again = await Desk(tmp_path, file).open()
    assert again.book6.reservations("", 9) == before
    await again.close()
    last = await Desk(tmp_path, replace(file, reservations6=(Reservation6(address="fd00::19", mac=MAC),))).open()
    assert [each.address for each, _ in last.book6.reservations("", 9)] == ["fd00::18", "fd00::19"]
    await last.book6.remove_reservation("fd00::17")
    with pytest.raises(NotFoundError):
        await last.book6.remove_reservation("fd00::17")
    await last.close()


FIXED = {"IPv4": "10.0.8.200", "IPv6": "fd08::200"}
SMALLER_Z: dict[str, dict[str, Any]] = {
    "IPv4": {"network": "10.0.8.0/25"},
    "IPv6": {"network": "fd08::/120", "pools": ("fd08::10",)},
}


async def reserve(desk: Desk, family: str) -> None:
    if family == "IPv4":
        await desk.book.set_reservation(Reservation(mac=MAC, address=FIXED[family]))
    else:
        await desk.book6.set_reservation(Reservation6(address=FIXED[family], mac=MAC))


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("changes", [{}, SMALLER_Z], ids=["removed", "made smaller"])
async def test_no_subnet_is_taken_from_under_a_reservation(
    tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    desk = await Desk(tmp_path, Dhcp()).open()
    subnets = subnets_of(desk, family)
    await subnets.set(Z[family])
    await reserve(desk, family)
    with pytest.raises(ConfigError) as caught:
        await (subnets.set(replace(Z[family], **changes[family])) if changes else subnets.remove("z"))
    assert caught.value.faults == (f"{FIXED[family]} is reserved, and would be in no subnet",)
    assert served(desk, family) == {"z": Z[family].network}
    await desk.close()


async def test_what_the_file_reserves_in_no_subnet_that_is_served_ends_no_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It was reserved after the subnet had been made smaller by its operator."""
    desk = await Desk(tmp_path, Dhcp(subnets=(Z["IPv4"],))).open()
    await desk.book.subnets.set(replace(Z["IPv4"], network="10.0.8.0/25"))
    await desk.close()
    file = Dhcp(subnets=(Z["IPv4"],), reservations=(Reservation(mac=MAC, address="10.0.8.200"),))
    again = await Desk(tmp_path, file).open()
    assert "dhcp.setting-unfit mac=52:54:00:00:00:01 error=address: 10.0.8.200 is in no subnet" in caplog.text
    again.server.set_reservation(Reservation(mac=MAC, name="node17"), Origin.MACHINE)
    assert again.server.site.reservations.knows(bytes.fromhex(MAC.replace(":", "")))
    await again.book.subnets.remove("z")
    (net,) = again.server.site.topology
    assert net.pool.is_fixed(int(IPv4Address("10.0.8.200")))
    await again.close()
