"""Ways to machines' boards: whose board it is, and what puts one on record."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.bmc.rotation import ways_of
from provisioner.errors import BmcUnreachable, ConflictError, NotFoundError, PreflightError, StoreError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.doors import check_board, check_free
from provisioner.lifecycle.ports import Bmcs
from provisioner.lifecycle.registry import Machines
from provisioner.model.bmc import PASSWORDS, BmcAddress, BmcIdentity, Driver, secret_of
from provisioner.model.facts import BmcSeen, Facts
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from tests.lifecycle.points import KillableDatabase, Killed, Points
from tests.lifecycle.rack import PASSWORD, FakeBmcs, Metal, Rack

WAY = r"`provisionctl bmc add node17 redfish://USER@HOST` or ipmi://"


async def test_who_has_no_bmc_on_record_is_told_what_puts_one_there(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    request = EnrolRequest("node17", macs=(metal.mac,))
    async with rack.daemon() as conductor:
        machine = await conductor.enrol(request)
        with pytest.raises(PreflightError, match=WAY):
            await conductor.boot("node17", "discovery")
        with pytest.raises(PreflightError, match=WAY):
            await conductor.release("node17")
        with pytest.raises(ConflictError, match=WAY):
            await conductor.power("node17", "on")
        with pytest.raises(ConflictError, match=r"already \(`provisionctl forget node17` removes it\)"):
            await conductor.enrol(request)
        with pytest.raises(ConflictError, match="`provisionctl bmc add node17 URL` gives it its BMC"):
            await conductor.enrol(EnrolRequest("node17", metal.address, PASSWORD))
        assert conductor.machines.get("node17") == machine
        added = await conductor.doors.add("node17", metal.address, PASSWORD)
        assert (added.bmc, added.uuid) == (metal.address, metal.uuid)
        assert (await conductor.boot("node17", "discovery")).run is not None


U17, U18, U99 = (f"00000000-0000-4000-8000-0000000000{at}" for at in (17, 18, 99))
BMC18 = BmcAddress(Driver.REDFISH, "10.0.0.18", 443, "admin", "ab" * 32)
IPMI18 = BmcAddress(Driver.IPMI, BMC18.host, 623, "root")
NODE18 = Machine("m18", "node18", State.ACTIVE, uuid=U18, serial="SN-18", bmc=BMC18)
BLANK = Machine("m31", "node31", State.ENROLLED)
BLADE = replace(NODE18, id="m19", name="node19", uuid="", bmc=None)
IS18 = "says that it is node18"

BOARDS: dict[str, tuple[Machine, BmcIdentity, bool, str]] = {
    "another's by UUID, for a machine of which nothing is known": (BLANK, BmcIdentity(uuid=U18), False, IS18),
    "another's by serial number": (BLANK, BmcIdentity(serial="sn-18"), False, IS18),
    "another's, for a machine that is known to be none of it": (
        replace(BLANK, uuid=U99), BmcIdentity(uuid=U18), False, IS18),
    "another's by UUID, of one chassis": (BLADE, BmcIdentity(uuid=U18, serial="SN-18"), False, IS18),
    "its own": (NODE18, BmcIdentity(uuid=U18), False, ""),
    "its own by serial number, which its chassis has": (BLADE, BmcIdentity(serial="SN-18"), True, ""),
    "nobody's so far, for a machine of which nothing is known": (BLANK, BmcIdentity(uuid=U99), False, ""),
    "nobody's so far, and not its own": (NODE18, BmcIdentity(uuid=U99), False, "is not that of node18"),
    "one that says nothing": (NODE18, BmcIdentity(), False, ""),
    "one that says nothing, where a word is asked for": (NODE18, BmcIdentity(), True, "is not that of node18"),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "board", "certain", "fault"), BOARDS.values(), ids=BOARDS.keys())
def test_whose_board_it_is(machine: Machine, board: BmcIdentity, certain: bool, fault: str) -> None:
    def check() -> None:
        check_board(machine, BMC18, board, Machines([NODE18, BLANK]).like_board(board), certain=certain)

    refused(check, fault)


AT18 = "is on record as the BMC of node18"
HOST18 = "ipmi://root@10.0.0.18:623 is at the host of redfish://admin@10.0.0.18:443, which is the BMC of node18 .*UUID"
ADDRESSES: dict[str, tuple[Machine, BmcAddress, BmcIdentity, str]] = {
    "another's": (BLANK, BMC18, BmcIdentity(), AT18),
    "another's, by another user": (BLANK, replace(BMC18, username="root", fingerprint=""), BmcIdentity(), AT18),
    "another's, with the only system named": (BLANK, replace(BMC18, system="1"), BmcIdentity(), AT18),
    "another's, with a board that was never seen": (BLANK, BMC18, BmcIdentity(uuid=U99), AT18),
    "another's, with a board of the same chassis": (BLADE, BMC18, BmcIdentity(serial="SN-18"), AT18),
    "another's, which moved: the board there is its own": (
        replace(BLANK, uuid=U99), BMC18, BmcIdentity(uuid=U99), ""),
    "its own": (NODE18, BMC18, BmcIdentity(), ""),
    "at another port: simulators have one for each board": (BLANK, replace(BMC18, port=8443), BmcIdentity(), ""),
    "by another driver, with no word of the board": (BLANK, IPMI18, BmcIdentity(), HOST18),
    "by another driver, with a word that is no UUID": (BLANK, IPMI18, BmcIdentity(serial="SN-31"), HOST18),
    "by another driver, and by UUID its own": (replace(BLANK, uuid=U99), IPMI18, BmcIdentity(uuid=U99), ""),
    "by another driver, and by UUID another board": (BLANK, IPMI18, BmcIdentity(uuid=U99), ""),
    "by another driver, of a machine that has it by the first": (NODE18, IPMI18, BmcIdentity(), ""),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "address", "board", "fault"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_whose_address_it_is(machine: Machine, address: BmcAddress, board: BmcIdentity, fault: str) -> None:
    refused(lambda: check_free(machine, address, board, Machines([NODE18, BLANK])), fault)


def refused(check: Callable[[], None], fault: str) -> None:
    if not fault:
        check()
        return
    with pytest.raises(ConflictError, match=fault):
        check()


DOORS: dict[str, Callable[[Conductor, Metal], Awaitable[Any]]] = {
    "enrol": lambda c, metal: c.enrol(EnrolRequest("node41", metal.address, PASSWORD)),
    "enrol without a login": lambda c, metal: c.enrol(EnrolRequest("node41", metal.address, verify=False)),
    "bmc add": lambda c, metal: c.doors.add("node31", metal.address, PASSWORD),
}


@pytest.mark.parametrize("silent", [False, True], ids=["that says whose it is", "that says nothing"])
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS.keys())
async def test_no_door_lets_in_the_bmc_of_another_machine(
    tmp_path: Path, door: Callable[[Conductor, Metal], Awaitable[Any]], silent: bool
) -> None:
    rack = Rack(tmp_path, ("node17", "node18"))
    metal = rack.one("node18")
    metal.uuid = "" if silent else metal.uuid
    async with rack.daemon() as conductor:
        await rack.enrol("node18")
        blank = await conductor.enrol(EnrolRequest("node31", macs=(Mac("52:54:00:00:00:31"),)))
        before = conductor.machines.all()
        with pytest.raises(ConflictError, match="node18"):
            await door(conductor, metal)
        assert conductor.machines.all() == before
        with pytest.raises(NotFoundError):
            await conductor._secrets.get(f"bmc/{blank.id}")


AT_ONCE: dict[str, Sequence[Callable[[Conductor, Metal], Awaitable[Any]]]] = {
    "two that are enrolled": (
        lambda c, metal: c.enrol(EnrolRequest("node41", metal.address, PASSWORD)),
        lambda c, metal: c.enrol(EnrolRequest("node42", metal.address, PASSWORD)),
    ),
    "two that are enrolled, without a login": (
        lambda c, metal: c.enrol(EnrolRequest("node41", metal.address, verify=False)),
        lambda c, metal: c.enrol(EnrolRequest("node42", metal.address, verify=False)),
    ),
    "one that is enrolled, and one on record": (DOORS["bmc add"], DOORS["enrol"]),
    "two on record": (DOORS["bmc add"], lambda c, metal: c.doors.add("node32", metal.address, PASSWORD)),
    "two that are enrolled with one port": (
        lambda c, metal: c.enrol(EnrolRequest("node41", metal.address, PASSWORD, macs=(metal.mac,))),
        lambda c, metal: c.enrol(EnrolRequest("node42", macs=(metal.mac,))),
    ),
}


@pytest.mark.parametrize("doors", AT_ONCE.values(), ids=AT_ONCE.keys())
@pytest.mark.parametrize("silent", [False, True], ids=["that says whose it is", "that says nothing"])
async def test_of_two_at_once_with_one_board_one_is_refused(
    tmp_path: Path, doors: Sequence[Callable[[Conductor, Metal], Awaitable[Any]]], silent: bool
) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    metal.uuid = "" if silent else metal.uuid
    async with rack.daemon() as conductor:
        for name in ("node31", "node32"):
            await conductor.enrol(EnrolRequest(name))
        done = await asyncio.gather(*(door(conductor, metal) for door in doors), return_exceptions=True)
        assert sorted(type(each).__name__ for each in done) == ["ConflictError", "Machine"]
        holders = [one for one in conductor.machines.all() if one.bmc is not None or one.macs]
        assert holders == [each for each in done if isinstance(each, Machine)]
        assert len(await conductor._secrets.names(PASSWORDS)) == sum(one.bmc is not None for one in holders)


async def test_boards_that_exchanged_their_addresses_are_put_right(tmp_path: Path) -> None:
    rack = Rack(tmp_path, ("node17", "node18"))
    one, other = rack.metal
    async with rack.daemon() as conductor:
        await rack.enrol("node17")
        await rack.enrol("node18")
        one.uuid, other.uuid = other.uuid, one.uuid  # as if each were at the other's address
        await conductor.doors.add("node17", other.address, PASSWORD)
        await conductor.doors.add("node18", one.address, PASSWORD)
        assert [machine.bmc for machine in conductor.machines.all()] == [other.address, one.address]


async def moved(conductor: Conductor, rack: Rack) -> None:
    """Give node17 the address that its board has now, with the password that it has there."""
    await conductor.doors.add("node17", rack.one("node18").address, rack.one("node18").password)


async def gone(conductor: Conductor, rack: Rack) -> None:
    await conductor.doors.remove("node17", Driver.REDFISH)


async def refused_at(conductor: Conductor, rack: Rack) -> None:
    """Give node17 a new address of its board, with a wrong password."""
    with pytest.raises(BmcUnreachable):
        await conductor.doors.add("node17", rack.one("node18").address, "wrong")


async def enrolled_by(conductor: Conductor, rack: Rack, password: str) -> None:
    with contextlib.suppress(BmcUnreachable):
        await conductor.enrol(EnrolRequest("node18", rack.one("node18").address, password))


class Sessions(FakeBmcs):
    """BMCs that tell which sessions are ended."""

    def __init__(self, rack: Rack, points: Points) -> None:
        super().__init__(rack, points)
        self.ended: list[BmcAddress] = []
        self.left: list[BmcAddress] = []

    async def forget(self, address: BmcAddress) -> None:
        self.ended.append(address)

    async def leave(self, address: BmcAddress) -> None:
        self.left.append(address)


class SessionRack(Rack):
    def bmcs(self, points: Points) -> Bmcs:
        self.sessions = Sessions(self, points)
        return self.sessions  # type: ignore[return-value]


LET_GO: dict[str, tuple[Callable[[Conductor, Rack], Awaitable[None]], list[str]]] = {
    # what is done, and which BMC is left then, as it was only tried; node17 is on record
    "a new address": (moved, []),
    "a new address that does not let us in": (refused_at, ["node18"]),
    "a new machine": (lambda c, rack: enrolled_by(c, rack, PASSWORD), []),
    "a new machine whose BMC does not let us in": (lambda c, rack: enrolled_by(c, rack, "wrong"), ["node18"]),
    "one that is on record, tried for another machine": (
        lambda c, rack: _refused(c.enrol(EnrolRequest("node41", rack.one().address, PASSWORD))), []),
}  # fmt: skip


@pytest.mark.parametrize(("change", "left"), LET_GO.values(), ids=LET_GO.keys())
async def test_a_session_is_kept_with_bmcs_on_record_alone(
    tmp_path: Path, change: Callable[[Conductor, Rack], Awaitable[None]], left: list[str]
) -> None:
    rack = SessionRack(tmp_path, ("node17", "node18"))
    async with rack.daemon() as conductor:
        await rack.enrol("node17")
        if change is moved:
            rack.one("node18").uuid = rack.one("node17").uuid
        await change(conductor, rack)
        assert rack.sessions.left == [rack.one(name).address for name in left]
        gone = [each for each in rack.sessions.ended if each not in [known.bmc for known in conductor.machines.all()]]
        assert gone == ([rack.one("node17").address] if change is moved else [])


async def _refused(work: Awaitable[object]) -> None:
    with pytest.raises(ConflictError):
        await work


NEW = "cd" * 32
REPINNED: dict[str, tuple[BmcAddress, BmcAddress]] = {
    # a way that is on record, and what it is after BMC18 was given another certificate
    "that way": (BMC18, replace(BMC18, fingerprint=NEW)),
    "by another user": (replace(BMC18, username="root"), replace(BMC18, username="root", fingerprint=NEW)),
    "to another system that it looks after": (
        replace(BMC18, system="2"), replace(BMC18, system="2", fingerprint=NEW)),
    "at another port": (replace(BMC18, port=8443), replace(BMC18, port=8443)),
    "by another driver": (IPMI18, IPMI18),
    "that another certificate is pinned for": (
        replace(BMC18, fingerprint="ef" * 32), replace(BMC18, fingerprint="ef" * 32)),
    "that none is pinned for": (replace(BMC18, fingerprint=""), replace(BMC18, fingerprint="")),
}  # fmt: skip


@pytest.mark.parametrize("first", [True, False], ids=["the first way", "another way"])
@pytest.mark.parametrize(("way", "after"), REPINNED.values(), ids=REPINNED.keys())
async def test_a_pin_follows_what_we_had_a_bmc_install(
    tmp_path: Path, way: BmcAddress, after: BmcAddress, first: bool
) -> None:
    other = BmcAddress(Driver.LIBVIRT, "localhost", 0, "")
    ways, kept = ((way, ()), (after, ())) if first else ((other, (way,)), (other, (after,)))
    async with Rack(tmp_path).daemon() as conductor:
        machine = await conductor.enrol(EnrolRequest("node18"))
        await conductor._runner.change(machine.id, lambda m, _: (replace(m, bmc=ways[0], more_bmcs=ways[1]), []))
        before = conductor.machines.get("node18")
        await conductor.doors.repin(BMC18, NEW)
        changed = conductor.machines.get("node18")
        assert (changed.bmc, changed.more_bmcs) == kept
        assert (changed is before) is (after == way)


WAYS = {"another address of the first way": moved, "one way less": gone}


async def life_of_ways(
    rack: Rack, change: Callable[[Conductor, Rack], Awaitable[None]], points: Points
) -> tuple[Machine, dict[str, str]]:
    """Have the ways to a board changed by a daemon that dies at a point; its record and its passwords then."""
    board, new = rack.metal
    new.uuid, new.password = board.uuid, "that of the new address"
    async with rack.daemon() as conductor:
        await rack.enrol("node17")
        await conductor.doors.add("node17", replace(board.address, driver=Driver.REDFISH), PASSWORD)
    async with rack.daemon(points) as conductor:
        points.passed.clear()
        with contextlib.suppress(Killed):
            await change(conductor, rack)
    async with rack.daemon() as conductor:
        names = await conductor._secrets.names(PASSWORDS)
        return conductor.machines.get("node17"), {name: await conductor._secrets.get(name) for name in names}


@pytest.mark.parametrize("change", WAYS.values(), ids=WAYS.keys())
async def test_killed_at_every_point_an_address_has_its_password(
    tmp_path: Path, change: Callable[[Conductor, Rack], Awaitable[None]]
) -> None:
    whole = Points()
    await life_of_ways(Rack(tmp_path / "whole", ("node17", "node18")), change, whole)
    assert whole.passed
    for number, point in enumerate(whole.passed):
        rack = Rack(tmp_path / str(number), ("node17", "node18"))
        machine, passwords = await life_of_ways(rack, change, Points(point))
        expected = {way.secret: metal_at(rack, way.address).password for way in ways_of(machine)}
        assert passwords == expected, point


def metal_at(rack: Rack, address: BmcAddress) -> Metal:
    return next(metal for metal in rack.metal if metal.address.host == address.host)


async def test_a_password_alone_is_put_on_record(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.daemon() as conductor:
        await rack.enrol()
        metal.password = "changed by hand"
        await conductor.doors.add("node17", metal.address, metal.password)
    async with rack.daemon() as conductor:
        machine = conductor.machines.get("node17")
        assert await conductor._secrets.get(secret_of(machine.id)) == metal.password


async def test_who_is_refused_keeps_the_password_that_is_on_record(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        machine = await rack.enrol()
        database = conductor._store._db
        assert isinstance(database, KillableDatabase)
        database.full = True
        rack.one().password = "another"
        with pytest.raises(StoreError):
            await conductor.doors.add("node17", rack.one().address, "another")
        assert await conductor._secrets.get(secret_of(machine.id)) == PASSWORD


async def test_an_adoption_that_is_begun_again_was_done_once(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal, ports = rack.one(), {Driver.IPMI: 623}
    async with rack.daemon() as conductor:
        machine = await rack.enrol()
        seen = Facts(bmc=BmcSeen(metal.address.host))
        await conductor._runner.change(machine.id, lambda m, _: (replace(m, bmc=None, facts=seen), []))
        with pytest.raises(ConflictError, match="node17: no account was made at its BMC"):
            await conductor.doors.adopt("node17", "provisioner", ports)
        metal.password = await conductor.doors.next_password(machine.id)
        for _ in range(2):
            assert await conductor.doors.adopt("node17", "provisioner", ports) == [Driver.IPMI]
        assert await conductor._secrets.get(secret_of(machine.id)) == metal.password
        with pytest.raises(ConflictError, match="no account was made"):
            await conductor.doors.adopt("node17", "somebody", ports)
