"""BMCs over the operator API: verbs by name, reasons, consoles; against boards that behave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from provisioner.bmc.consoles import Consoles
from provisioner.bmc.pool import Bmcs
from provisioner.bmc.ways import Ways
from provisioner.dhcp.boards import BoardSeen
from provisioner.errors import BmcUnsupported
from provisioner.model.bmc import BmcIdentity, Driver, Power
from provisioner.model.facts import BmcSeen, Facts
from provisioner.model.machine import Hold, Machine, Run, State
from provisioner.model.net import Mac
from provisioner.web.app import operator_app
from provisioner.web.bmc import BmcApi, Boards
from provisioner.web.spool import Spool
from provisioner.web.underway import UnderWay
from tests.bmc.fake import ADDRESS, FakeBmc
from tests.bmc.test_consoles import Bay, FakeLine
from tests.web.fakes import NODE17, PLAN, FakeMachines

Client = TestClient[web.Request, web.Application]
M17 = "/v1/machines/node17"


@dataclass
class Rack:
    """One machine's board, console and secrets behind the API."""

    board: FakeBmc = field(default_factory=FakeBmc)
    line: FakeLine = field(default_factory=lambda: FakeLine(b"login: "))
    machines: FakeMachines = field(default_factory=FakeMachines)
    done: list[tuple[str, str, object]] = field(default_factory=list)
    rotated: list[str] = field(default_factory=list)
    seen: list[BoardSeen] = field(default_factory=list)
    engaged: str = ""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def set(self, **changes: Any) -> None:
        self.machines.by_name["node17"] = replace(NODE17, **changes)

    async def get(self, name: str) -> str:
        return "canary-password"

    async def change(self, put: Mapping[str, str], gone: Iterable[str] = ()) -> None:
        raise NotImplementedError

    async def did(self, machine: Machine, verb: str, outcome: object) -> None:
        self.done.append((machine.name, verb, outcome))
        self.ended.set()

    async def rotate(self, machine: Machine) -> None:
        self.rotated.append(machine.name)


@pytest.fixture
def rack() -> Rack:
    return Rack()


@pytest.fixture
async def client(rack: Rack, tmp_path: Path) -> AsyncIterator[Client]:
    bmcs = Bmcs(quirks=(), make=lambda address, password: rack.board)
    rack.set(bmc=ADDRESS)
    boards = Boards(
        bmcs, Ways(bmcs, rack, lambda _: ()), rack, rack.rotate, rack.did, lambda: rack.seen, lambda _: rack.engaged
    )
    async with Consoles(Bay(rack.line).open) as consoles, UnderWay() as underway:
        api = BmcApi(rack.machines, boards, consoles, underway, Spool(tmp_path / "firmware"))
        async with TestClient(TestServer(operator_app(api.routes()))) as made:
            yield made


async def test_verbs_are_listed_with_what_they_take(client: Client) -> None:
    listed = {one["name"]: one for one in (await (await client.get("/v1/bmc/verbs")).json())["verbs"]}
    assert listed["power.on"]["takes"] == {}
    assert listed["vmedia.insert"] == {
        "name": "vmedia.insert",
        "does": "put an image into a virtual drive",
        "changes": True,
        "limit_s": 120.0,
        "takes": {"uri": {"needed": True, "secret": False}},
        "drivers": ["redfish"],
    }
    assert listed["accounts.create"]["takes"]["password"]["secret"]
    assert listed["console.open"]["drivers"] == ["ipmi", "redfish"]


@pytest.mark.slow
async def test_do_a_verb(client: Client, rack: Rack) -> None:
    response = await client.post(f"{M17}/bmc/power.on")
    assert (response.status, await response.json()) == (200, {"result": None})
    assert await rack.board.power() is Power.ON
    assert (await (await client.post(f"{M17}/bmc/power.status", json={})).json())["result"] == "on"
    identity = (await (await client.post(f"{M17}/bmc/identify")).json())["result"]
    assert identity["vendor"] == "Fake"
    assert rack.done[:2] == [("node17", "power.on", None), ("node17", "power.status", Power.ON)]
    await client.post(f"{M17}/bmc/boot.once.pxe", json={"uefi": True})
    assert (await (await client.post(f"{M17}/bmc/boot.read")).json())["result"]["uefi"] is True


REFUSED: dict[str, tuple[str, Any, int, str]] = {
    "no such verb": ("power.explode", None, 400, "no verb"),
    "an argument that it does not take": ("power.on", {"fast": True}, 400, "fast: unknown"),
    "an argument of the wrong kind": ("boot.once.pxe", {"uefi": "yes"}, 400, "Expected `bool"),
    "what the driver cannot": ("bios.read", None, 422, "cannot do this"),
    "the daemon's own password": (
        "accounts.password",
        {"name": "admin", "password": "x"},
        409,
        "the daemon's own account",
    ),
    "the account of another way": ("accounts.delete", {"name": "second"}, 409, "the daemon's own account"),
}


@pytest.mark.parametrize(("verb", "body", "status", "said"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_refused(client: Client, rack: Rack, verb: str, body: Any, status: int, said: str) -> None:
    rack.set(bmc=ADDRESS, more_bmcs=(replace(ADDRESS, driver=Driver.IPMI, username="second"),))
    response = await client.post(f"{M17}/bmc/{verb}", json=body)
    text = await response.text()
    assert response.status == status
    assert said in text
    assert "canary" not in text


IN_USE: dict[str, tuple[State, Hold | None]] = {
    "active": (State.ACTIVE, None),
    "reserved": (State.RESERVED, None),
    "in rescue": (State.RESCUE, Hold("in rescue", State.ACTIVE, 0.0)),
    "in maintenance": (State.MAINTENANCE, Hold("new fan", State.ACTIVE, 0.0)),
    "in quarantine": (State.QUARANTINED, Hold("odd", State.RESERVED, 0.0)),
    "in rescue from maintenance": (
        State.RESCUE,
        Hold("in rescue", State.MAINTENANCE, 1.0, Hold("new fan", State.ACTIVE, 0.0)),
    ),
}
DESTROYING: dict[str, dict[str, Any]] = {
    "drive.erase": {"drive": "D1"},
    "volumes.delete": {"volume": "V1"},
    "volumes.create": {"raid": "RAID1", "drives": ["D1", "D2"]},
}


@pytest.mark.parametrize(("state", "hold"), IN_USE.values(), ids=IN_USE.keys())
async def test_a_machine_in_use_keeps_its_data(client: Client, rack: Rack, state: State, hold: Hold | None) -> None:
    rack.set(bmc=ADDRESS, state=state, hold=hold)
    for verb, body in DESTROYING.items():
        response = await client.post(f"{M17}/bmc/{verb}", json=body)
        assert (response.status, "in use" in await response.text()) == (409, True), verb


async def test_a_workflow_keeps_its_machine(client: Client, rack: Rack) -> None:
    rack.engaged = "workflow burn-in (run 7)"
    for verb in ("power.off", "rotate"):
        response = await client.post(f"{M17}/bmc/{verb}")
        assert (response.status, "in workflow burn-in (run 7)" in await response.text()) == (409, True)
    assert (await client.put(f"{M17}/bmc/firmware", params={"name": "x.bin"}, data=b"x")).status == 409
    assert (await client.post(f"{M17}/bmc/power.status")).status == 200, "looking is always allowed"
    assert rack.rotated == []


async def test_a_run_keeps_its_machine(client: Client, rack: Rack) -> None:
    rack.set(state=State.DEPLOYING, run=Run("r-1", "deploy", "debian-12", PLAN))
    assert (await client.post(f"{M17}/bmc/power.off")).status == 409
    assert (await client.post(f"{M17}/bmc/rotate")).status == 409
    assert (await client.post(f"{M17}/bmc/power.status")).status == 200, "looking is always allowed"
    assert rack.rotated == []


async def test_rotate(client: Client, rack: Rack) -> None:
    assert (await client.post(f"{M17}/bmc/rotate")).status == 204
    assert rack.rotated == ["node17"]


@pytest.mark.slow
async def test_why(client: Client) -> None:
    found = await (await client.get(f"{M17}/bmc/why/power.cycle")).json()
    assert found["lines"] == ["power.cycle: redfish is asked", "1. redfish: unproven, never tried on this model"]
    await client.post(f"{M17}/bmc/power.on")
    found = await (await client.get(f"{M17}/bmc/why/power.on")).json()
    assert found["order"][0]["verdict"] == "proven"
    assert (await client.get(f"{M17}/bmc/why/power.explode")).status == 400


async def test_console(client: Client, rack: Rack) -> None:
    async with client.get(f"{M17}/console") as response:
        assert await response.content.readany() == b"login: "
        assert (await client.post(f"{M17}/console", data=b"root\r")).status == 204
        rack.line.say(b"Password: ")
        assert await response.content.readany() == b"Password: "
    assert rack.line.typed == b"root\r"
    async with asyncio.timeout(5):
        while not rack.line.closed:
            await client.get("/v1/bmc/verbs")


async def test_a_board_that_has_no_console_says_so_where_it_is_read(rack: Rack, tmp_path: Path) -> None:
    bmcs = Bmcs(quirks=(), make=lambda address, password: rack.board)
    rack.set(bmc=ADDRESS)
    boards = Boards(bmcs, Ways(bmcs, rack, lambda _: ()), rack, rack.rotate, rack.did)
    bay = Bay(BmcUnsupported("it has no serial console"))
    async with Consoles(bay.open) as consoles, UnderWay() as under_way:
        api = BmcApi(rack.machines, boards, consoles, under_way, Spool(tmp_path))
        async with TestClient(TestServer(operator_app(api.routes()))) as client:
            response = await client.get(f"{M17}/console")
            assert await response.read() == b"\r\nnode17: it has no serial console\r\n"


class PushBmc(FakeBmc):
    """A board that takes firmware, and remembers it."""

    pushed: tuple[str, int] = ("", 0)

    async def push_firmware(self, file: Path) -> None:
        self.pushed = file.name, len(await asyncio.to_thread(file.read_bytes))


async def test_firmware_is_sent_through_the_daemon(client: Client, rack: Rack) -> None:
    rack.board = board = PushBmc()
    sent = bytes(900_000)
    response = await client.put(f"{M17}/bmc/firmware", params={"name": "NIC-1.2.bin"}, data=sent)
    assert (response.status, board.pushed) == (200, ("NIC-1.2.bin", len(sent)))
    assert (await client.put(f"{M17}/bmc/firmware", params={"name": "../x"}, data=b"x")).status == 400
    rack.set(bmc=ADDRESS, state=State.DEPLOYING, run=Run("r-1", "deploy", "debian-12", PLAN))
    assert (await client.put(f"{M17}/bmc/firmware", params={"name": "x.bin"}, data=b"x")).status == 409


class SlowBmc(FakeBmc):
    """A board whose verbs begin, and end when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.may_end, self.broken_off = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def push_firmware(self, file: Path) -> None:
        await self._slowly()
        await asyncio.to_thread(file.read_bytes)

    async def set_power(self, wanted: Power) -> None:
        await self._slowly()

    async def identify(self) -> BmcIdentity:
        await self._slowly()
        return await super().identify()

    async def _slowly(self) -> None:
        self.began.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.broken_off.set()
            raise


HUNG_UP: dict[str, tuple[str, str, bool]] = {
    "a push": ("PUT", "firmware?name=x.bin", True),
    "a change": ("POST", "power.on", True),
    "a read is broken off": ("POST", "identify", False),
}


@pytest.mark.parametrize(("method", "path", "is_done"), HUNG_UP.values(), ids=HUNG_UP.keys())
async def test_a_change_is_brought_to_its_end_whoever_waits_for_it(
    client: Client, rack: Rack, method: str, path: str, is_done: bool
) -> None:
    rack.board = board = SlowBmc()
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(client.request(method, f"{M17}/bmc/{path}", data=b"{}"))
        await board.began.wait()
        asking.cancel()
    await client.get("/v1/bmc/verbs")  # the daemon has heard that the client is gone
    if not is_done:
        await board.broken_off.wait()
    board.may_end.set()
    if is_done:
        await rack.ended.wait()
    assert (await client.post(f"{M17}/bmc/power.off")).status == 200
    names = {"firmware?name=x.bin": "firmware.push"}
    expected = [("node17", names.get(path, path), None)] if is_done else []
    assert rack.done == [*expected, ("node17", "power.off", None)]


async def test_a_run_that_begins_while_firmware_arrives_keeps_its_machine(client: Client, rack: Rack) -> None:
    rack.board = board = PushBmc()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"half of it"
        rack.set(bmc=ADDRESS, state=State.DEPLOYING, run=Run("r-1", "deploy", "debian-12", PLAN))
        yield b"and the rest"

    response = await client.put(f"{M17}/bmc/firmware", params={"name": "x.bin"}, data=slowly())
    assert (response.status, board.pushed) == (409, ("", 0))


async def test_bmcs_that_were_seen_are_joined_by_their_hardware_address(client: Client, rack: Rack) -> None:
    rack.seen = [
        BoardSeen(Mac("d0:94:66:00:00:17"), "10.0.0.99", "iDRAC", 5.0),
        BoardSeen(Mac("d0:94:66:00:00:18"), "10.0.0.18", "", 6.0),
    ]
    rack.set(facts=Facts(bmc=BmcSeen("10.0.0.17", "d0:94:66:00:00:17")))
    found = (await (await client.get("/v1/bmc/found")).json())["found"]
    assert [(row["mac"][-2:], row["address"], row["how"], row["machine"], row["at"]) for row in found] == [
        ("18", "10.0.0.18", ["dhcp"], "", "1970-01-01T00:00:06.000Z"),
        ("17", "10.0.0.99", ["dhcp", "in-band"], "node17", "1970-01-01T00:00:05.000Z"),
    ], "another address, the same board"
