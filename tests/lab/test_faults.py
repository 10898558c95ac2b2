"""Each quirk and fault: what a board with it does, by the protocol that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from provisioner.errors import LabError
from provisioner.lab.chassis import Chassis, Lifetime, Mode, Override, Verb
from provisioner.lab.faults import DEAD_S, FLAGS_S, LAG_S, SLOW_S, WHAT, Fault, Faults, parse
from provisioner.lab.hardware import OWN_ORDER, BootChoice
from provisioner.lab.ipmi.crypto import SUITE_3, SUITE_17
from provisioner.lab.ipmi.message import Code, Request
from provisioner.lab.ipmi.session import Lan, Status
from provisioner.lab.redfish.resources import SETTINGS_PATH, SYSTEM, V1
from provisioner.lab.redfish.server import RedfishServer
from provisioner.model.bmc import BootTarget, Power
from tests.lab.boards import PASSWORD, USER, Rig, running
from tests.lab.ipmi.console import Console, Random, exchange
from tests.lab.redfish.test_service import LOGIN, ONCE, RESET, Client, basic

PXE_ONCE = Override(BootChoice(BootTarget.PXE), Lifetime.ONCE)
CD = f"{V1}/Managers/1/VirtualMedia/Cd"
IMAGE = {"Image": "http://10.77.0.1/rescue.iso"}


def faulty(*faults: Fault, times: int | None = None) -> Client:
    client = Client(Rig())
    for fault in faults:
        client.rig.board.faults.start(fault, times)
    return client


def test_every_fault_is_explained() -> None:
    assert set(WHAT) == set(Fault)


def test_a_fault_strikes_as_often_as_it_is_told() -> None:
    faults = Faults()
    faults.start(Fault.UNAVAILABLE, 2)
    assert faults.listed() == ["unavailable (x2)"]
    assert [faults.strikes(Fault.UNAVAILABLE) for _ in range(3)] == [True, True, False]
    faults.start(Fault.DEAF)
    assert [faults.strikes(Fault.DEAF) for _ in range(3)] == [True] * 3
    faults.stop(Fault.DEAF)
    faults.stop(Fault.DEAF)
    assert not faults.on(Fault.DEAF)


def test_a_fault_that_does_not_exist() -> None:
    assert parse("deaf") is Fault.DEAF
    with pytest.raises(LabError, match="on-fire: no such fault"):
        parse("on-fire")


# Redfish


def test_no_power_cycle() -> None:
    client = faulty(Fault.NO_POWER_CYCLE)
    client.rig.chassis.request(Verb.ON)
    offered = client.get(SYSTEM)["Actions"]["#ComputerSystem.Reset"]["ResetType@Redfish.AllowableValues"]
    assert "PowerCycle" not in offered
    assert client.ask("POST", RESET, {"ResetType": "PowerCycle"}).status == 400


async def test_mode_reset_unless_the_mode_is_sent() -> None:
    client = faulty(Fault.MODE_RESET)
    async with running(client.rig) as rig:
        client.ask("PATCH", SYSTEM, {"Boot": ONCE})
        assert client.get(SYSTEM)["Boot"]["BootSourceOverrideMode"] == "Legacy"
        client.ask("POST", RESET, {"ResetType": "On"})
        await rig.settle()
        client.ask("PATCH", SYSTEM, {"Boot": ONCE | {"BootSourceOverrideMode": "UEFI"}})
        client.ask("POST", RESET, {"ResetType": "ForceRestart"})
        await rig.settle()
        assert [boot.target for boot in rig.boots] == [BootTarget.NONE, BootTarget.PXE]


def test_settings_object() -> None:
    client = faulty(Fault.SETTINGS_OBJECT)
    assert client.get(SYSTEM)["@Redfish.Settings"]["SettingsObject"]["@odata.id"] == SETTINGS_PATH
    assert client.ask("PATCH", SYSTEM, {"Boot": ONCE}).status == 400
    assert client.ask("PATCH", SETTINGS_PATH, {"Boot": ONCE}).status == 200
    assert client.rig.chassis.override.choice.target is BootTarget.PXE
    assert Client(Rig()).ask("GET", SETTINGS_PATH).status == 404


def test_etag_required() -> None:
    client = faulty(Fault.ETAG_REQUIRED)
    tag = client.ask("GET", SYSTEM).headers["ETag"]
    assert client.ask("PATCH", SYSTEM, {"Boot": ONCE}).status == 428
    assert client.ask("PATCH", SYSTEM, {"Boot": ONCE}, If_Match=tag, **basic()).status == 200


def test_etag_moves() -> None:
    client = faulty(Fault.ETAG_MOVES, times=1)
    assert [client.ask("PATCH", SYSTEM, {"Boot": ONCE}).status for _ in range(2)] == [412, 200]


def test_lost_session() -> None:
    client = faulty()
    token = client.ask("POST", LOGIN, {"UserName": USER, "Password": PASSWORD}).headers["X-Auth-Token"]
    client.rig.board.faults.start(Fault.LOST_SESSION, 1)
    assert client.ask("GET", SYSTEM, X_Auth_Token=token).status == 401
    token = client.ask("POST", LOGIN, {"UserName": USER, "Password": PASSWORD}).headers["X-Auth-Token"]
    assert client.ask("GET", SYSTEM, X_Auth_Token=token).status == 200


REPEATED: dict[Fault, tuple[str, str, Any, int, int]] = {
    Fault.UNAVAILABLE: ("GET", SYSTEM, None, 503, 200),
    Fault.SESSIONS_FULL: ("POST", LOGIN, {"UserName": USER, "Password": PASSWORD}, 503, 201),
    Fault.REDIRECT_LOOP: ("GET", SYSTEM, None, 302, 200),
}


@pytest.mark.parametrize("fault", REPEATED, ids=str)
def test_it_passes(fault: Fault) -> None:
    method, path, body, first, then = REPEATED[fault]
    client = faulty(fault, times=1)
    assert [client.ask(method, path, body).status for _ in range(2)] == [first, then]


def test_slash_redirect() -> None:
    client = faulty(Fault.SLASH_REDIRECT)
    answer = client.ask("GET", SYSTEM)
    assert (answer.status, answer.headers["Location"]) == (308, f"{SYSTEM}/")
    assert client.ask("GET", f"{SYSTEM}/").status == 200


TASKS = {Fault.RESET_TASK: "Completed", Fault.STUCK_TASK: "Running"}


@pytest.mark.parametrize(("fault", "state"), TASKS.items(), ids=TASKS)
def test_tasks(fault: Fault, state: str) -> None:
    client = faulty(fault)
    answer = client.ask("POST", RESET, {"ResetType": "On"})
    assert answer.status == 202
    assert client.get(answer.headers["Location"])["TaskState"] == state
    assert client.rig.chassis.pending == [Verb.ON], "it is done all the same"
    assert client.ask("GET", f"{V1}/TaskService/Tasks/9").status == 404


async def test_media_go_in_and_out_unless_they_are_stuck() -> None:
    client = faulty()
    async with running(client.rig) as rig:
        assert client.ask("POST", f"{CD}/Actions/VirtualMedia.InsertMedia", IMAGE).status == 204
        assert client.ask("POST", f"{CD}/Actions/VirtualMedia.InsertMedia", IMAGE).status == 409
        assert client.get(CD)["Image"] == IMAGE["Image"]
        await rig.settle()
        assert rig.machine.medium.uri == IMAGE["Image"]
        client.rig.board.faults.start(Fault.STUCK_MEDIA, 1)
        for inserted in (True, False):
            assert client.ask("POST", f"{CD}/Actions/VirtualMedia.EjectMedia").status == 204
            assert client.get(CD)["Inserted"] is inserted
        assert client.ask("POST", f"{CD}/Actions/VirtualMedia.InsertMedia", {"Image": "nfs://x"}).status == 400


def test_bodies_that_are_no_answer() -> None:
    assert faulty(Fault.NOT_JSON).ask("GET", SYSTEM).page.startswith("<html>")
    assert faulty(Fault.TRUNCATED).ask("GET", SYSTEM).is_cut
    assert faulty(Fault.SLOW_ANSWERS).ask("GET", SYSTEM).delay_s == SLOW_S
    assert faulty(Fault.DEAD).ask("GET", SYSTEM).delay_s == DEAD_S


async def test_they_go_over_the_wire_like_that() -> None:
    client = faulty(Fault.NOT_JSON, Fault.TRUNCATED, times=1)
    server = RedfishServer(client.rig.board)
    await server.start("127.0.0.1", 0, None)
    url = f"http://127.0.0.1:{server.port}{SYSTEM}"
    try:
        async with aiohttp.ClientSession(headers=basic()) as session:
            async with session.get(url) as page:
                assert (page.content_type, (await page.text())[:6]) == ("text/html", "<html>")
            async with session.get(url) as cut:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await cut.read()
            async with session.get(url) as whole:
                assert (await whole.json())["Id"] == "1"
    finally:
        await server.close()


# the chassis, by either protocol


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Timed(Rig):
    """A rig whose chassis runs on the test's clock."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__()
        self.clock = Clock()
        self.chassis = Chassis(self.machine, self.clock, Faults(faults))
        self.board.chassis = self.chassis


async def test_once_stays() -> None:
    async with running(Timed(Fault.ONCE_STAYS)) as rig:
        rig.chassis.set_override(PXE_ONCE)
        for verb in (Verb.ON, Verb.RESET):
            rig.chassis.request(verb)
        await rig.settle()
        assert [boot.target for boot in rig.boots] == [BootTarget.PXE, BootTarget.PXE]


@pytest.mark.parametrize(("after_s", "target"), [(FLAGS_S, BootTarget.PXE), (FLAGS_S + 1, BootTarget.NONE)])
async def test_flags_expire(after_s: float, target: BootTarget) -> None:
    timed = Timed(Fault.FLAGS_EXPIRE)
    async with running(timed) as rig:
        rig.chassis.set_override(PXE_ONCE)
        await rig.settle()
        timed.clock.now += after_s
        rig.chassis.request(Verb.ON)
        await rig.settle()
        assert [boot.target for boot in rig.boots] == [target]


async def test_flags_hold_while_power_is_worked_on() -> None:
    timed = Timed(Fault.FLAGS_EXPIRE)
    async with running(timed) as rig:
        rig.chassis.set_override(PXE_ONCE)
        for verb in (Verb.OFF, Verb.ON):
            timed.clock.now += FLAGS_S
            rig.chassis.request(verb)
            await rig.settle()
        assert [boot.target for boot in rig.boots] == [BootTarget.PXE]


async def test_stale_power() -> None:
    timed = Timed(Fault.STALE_POWER)
    async with running(timed) as rig:
        rig.chassis.request(Verb.ON)
        await rig.settle()
        assert (rig.chassis.reading, rig.chassis.power) == (Power.OFF, Power.ON)
        timed.clock.now += LAG_S
        assert rig.chassis.reading is Power.ON


async def test_deaf() -> None:
    async with running(Timed()) as rig:
        rig.chassis.faults.start(Fault.DEAF, 1)
        rig.chassis.request(Verb.ON)
        await rig.settle()
        assert rig.chassis.power is Power.OFF
        rig.chassis.request(Verb.ON)
        await rig.settle()
        assert rig.chassis.power is Power.ON


@pytest.mark.looptime
async def test_slow_power_off() -> None:
    async with running(Timed(Fault.SLOW_POWER_OFF)) as rig:
        rig.chassis.request(Verb.ON)
        rig.chassis.request(Verb.OFF)
        await rig.settle()
        assert rig.chassis.power is Power.OFF


# IPMI


def lan(*faults: Fault, times: int | None = None) -> Lan:
    rig = Rig()
    for fault in faults:
        rig.board.faults.start(fault, times)
    return Lan(rig.board, Random())


def test_suite_3_only() -> None:
    board = lan(Fault.SUITE_3_ONLY)
    assert Console(board).log_in(suite=SUITE_17) == Status.NO_SUITE
    console = Console(board)
    assert console.log_in(suite=SUITE_3) == Status.OK
    assert console.ask(0x06, 0x54, b"\x0e\x00\x80").data == bytes.fromhex("01c003014181")


def test_flags_unreadable() -> None:
    console = Console(lan(Fault.FLAGS_UNREADABLE))
    console.log_in()
    console.ask(0x06, 0x3B, b"\x04")
    assert console.ask(0x00, 0x08, bytes.fromhex("05a004000000")).code == Code.OK
    assert console.lan.board.chassis.override.choice.target is BootTarget.PXE
    assert console.ask(0x00, 0x09, b"\x05\x00\x00").data.hex() == "01050000000000"


def test_node_busy() -> None:
    console = Console(lan(Fault.NODE_BUSY, times=1))
    console.log_in()
    assert [console.ask(0x00, 0x01, sequence=at).code for at in (1, 2)] == [Code.BUSY, Code.OK]


def test_lossy() -> None:
    console = Console(lan())
    console.log_in()
    console.lan.board.faults.start(Fault.LOSSY)
    answers = [len(exchange(console.lan, console.seal(Request(6, 1, sequence=at)))) for at in range(5)]
    assert sorted(answers) == [0, 1, 1, 1, 1]


def test_dead() -> None:
    console = Console(lan())
    console.log_in()
    console.lan.board.faults.start(Fault.DEAD)
    assert exchange(console.lan, console.seal(Request(6, 1))) == []


# documents


def test_the_documents_list_every_fault() -> None:
    text = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    assert {fault for fault in Fault if f"`{fault}`" in text} == set(Fault)


def test_own_order_is_no_choice() -> None:
    assert OWN_ORDER.target is BootTarget.NONE
    assert Override(mode=Mode.UEFI).next_boot() == OWN_ORDER
