"""Whoever changes DHCP goes away at every write of it: what is on the disk is what is served."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from provisioner.dhcp.adopt import Kind, Want
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.store.leases import LeaseStore
from tests.cutting import CutDatabase
from tests.dhcp.clients import NOW, ip, subnet
from tests.dhcp.v6.clients import MAC
from tests.dhcp.v6.clients import subnet as subnet6
from tests.web.dhcp import Desk


class CutDesk(Desk):
    database = CutDatabase


LAB = subnet(name="lab", network="10.7.0.0/24", interface="", pools=("10.7.0.10-10.7.0.20",), router=())
LAB6 = subnet6(name="rack6", interface="", pools=("fd00::200",))
FIXED, FIXED6 = Reservation(mac=MAC, address="10.0.0.50"), Reservation6(address="fd00::50", mac=MAC)
WANTS = [Want(Kind.RESERVATION, ip("10.0.0.50"), bytes.fromhex("525400000001"))] + [
    Want(Kind.LEASE, ip("10.0.0.0") + number, bytes((0x52, 0x54, 0, 0, 1, number)), until=NOW + 600)
    for number in range(100, 110)
]


async def nothing(_desk: Desk) -> None:
    """Nothing has to be there before."""


Step = Callable[[Desk], Awaitable[object]]
STEPS: dict[str, tuple[Step, Step]] = {
    # what is there before, and what is asked for
    "reserve": (nothing, lambda d: d.book.set_reservation(FIXED)),
    "unreserve": (lambda d: d.book.set_reservation(FIXED), lambda d: d.book.remove_reservation(MAC)),
    "reserve6": (nothing, lambda d: d.book6.set_reservation(FIXED6)),
    "unreserve6": (lambda d: d.book6.set_reservation(FIXED6), lambda d: d.book6.remove_reservation("fd00::50")),
    "subnet-set": (nothing, lambda d: d.book.subnets.set(subnet(name="rack1", interface="", lease_s=99))),
    "subnets-set": (nothing, lambda d: d.book.subnets.set(subnet(name="rack1", interface="", lease_s=99), LAB)),
    "subnet6-set": (nothing, lambda d: d.book6.subnets.set(LAB6)),
    "subnet-remove": (
        lambda d: d.book.subnets.set(subnet(name="rack1", interface="", lease_s=99)),
        lambda d: d.book.subnets.remove("rack1"),
    ),
    "subnet6-remove": (lambda d: d.book6.subnets.set(LAB6), lambda d: d.book6.subnets.remove("rack6")),
    "import": (nothing, lambda d: d.imports.take_over(WANTS)),
}


def known(desk: Desk) -> list[Any]:
    """What is served, and what operators are shown of it."""
    return [
        desk.server.subnets(),
        desk.server6.subnets(),
        desk.book.subnets.all(),
        desk.book6.subnets.all(),
        desk.book.reservations("", 99),
        desk.book6.reservations("", 99),
        sorted(desk.server.leases()),
    ]


@pytest.mark.parametrize("name", STEPS)
async def test_whoever_asks_goes_away(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    before, ask = STEPS[name]
    writes, cut_at = 1, 0
    while cut_at < writes:
        desk = await CutDesk(tmp_path_factory.mktemp("at")).open()
        await before(desk)
        told: list[Any] = []
        desk.book.subnets.follow(told.append)
        desk.book6.subnets.follow(told.append)
        db = desk.db
        assert isinstance(db, CutDatabase)

        async def asking(here: Desk = desk) -> None:
            await ask(here)

        db.cut_at, db.asker = cut_at, asyncio.get_running_loop().create_task(asking())
        await asyncio.wait([db.asker])
        assert db.asker.cancelled()
        writes, db.asker = db.writes, None
        found = known(desk)
        assert sorted(desk.server.leases()) == sorted(await LeaseStore(desk.db).load())
        assert all(each in told for each in (desk.server.subnets(), desk.server6.subnets()))
        await desk.close()
        again = await Desk(desk.folder).open()
        assert known(again) == found
        await again.close()
        cut_at += 1
