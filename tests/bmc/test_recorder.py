"""What machines print during a run is written down: all of it to a file, the telling lines to the trace."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.bmc import recorder as module
from provisioner.bmc.consoles import Consoles
from provisioner.bmc.recorder import ASK_AGAIN_S, BURST_LINES, Budget, LogFile, Recorder, settle
from provisioner.errors import BmcUnsupported
from provisioner.lifecycle.symptoms import console_shows
from provisioner.model.machine import Machine, Phase, Run, State, Step
from provisioner.model.trace import TraceLine
from tests.bmc.fake import ADDRESS
from tests.bmc.test_consoles import Bay, FakeLine

pytestmark = pytest.mark.looptime

IDLE = Machine("m-17", "node17", State.READY, bmc=ADDRESS)
RUNNING = replace(IDLE, run=Run("r-1", "deploy", "debian-12", (Step("wait.dhcp", Phase.DHCP, 600),)))


class Site:
    """What a recorder needs, and what it said."""

    def __init__(self, *lines: FakeLine | BmcUnsupported) -> None:
        self.bay = Bay(*lines)
        self.told: list[TraceLine] = []

    def texts(self) -> list[str]:
        return [line.text for line in self.told]


async def recording(site: Site, folder: Path | None = None) -> AsyncIterator[Recorder]:
    async with (
        Consoles(site.bay.open) as consoles,
        Recorder(consoles, site.told.append, console_shows, folder) as recorder,
    ):
        yield recorder


async def test_a_run_is_recorded_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    line = FakeLine(b"SeaBIOS\r\niPXE ", b"1.21\r\nlogin: ")
    site = Site(line)
    async for recorder in recording(site, tmp_path):
        recorder(None, IDLE)
        assert site.bay.opened == 0, "nothing runs: nothing is opened"
        recorder(IDLE, RUNNING)
        recorder(RUNNING, RUNNING)
        await asyncio.sleep(5)
        assert site.texts() == ["SeaBIOS", "iPXE 1.21", "login:"]
        assert {(told.machine, told.run, told.event) for told in site.told} == {("m-17", "r-1", "console.line")}
        recorder(RUNNING, IDLE)
        await asyncio.sleep(5)
        assert line.closed
    written = await asyncio.to_thread((tmp_path / "m-17.log").read_bytes)
    assert written == b"SeaBIOS\r\niPXE 1.21\r\nlogin: "


async def test_a_board_without_a_console_is_not_asked_by_every_run() -> None:
    site = Site(BmcUnsupported("none"), BmcUnsupported("none"), BmcUnsupported("none"))
    asked = []
    moved = replace(RUNNING, bmc=replace(ADDRESS, host="192.0.2.9"))
    async for recorder in recording(site):
        for machine, pause_s in ((RUNNING, 60.0), (RUNNING, ASK_AGAIN_S), (RUNNING, 1.0), (moved, 1.0)):
            recorder(IDLE, machine)
            await asyncio.sleep(1)
            recorder(machine, IDLE)
            asked.append(site.bay.opened)
            await asyncio.sleep(pause_s)
    assert asked == [1, 1, 2, 3], "asked again after a while, and when it is another board"


SAID = b"[    0.0] Kernel command line: BOOT_IMAGE=/vmlinuz provisioner.token=QfJ3x-_9 password='pw' quiet\n"


@pytest.mark.parametrize("pieces", [(SAID,), (SAID[:60], SAID[60:75], SAID[75:]), tuple(bytes([c]) for c in SAID)])
async def test_secrets_that_a_kernel_prints_are_kept_nowhere(tmp_path: Path, pieces: tuple[bytes, ...]) -> None:
    site = Site(FakeLine(*pieces))
    async for recorder in recording(site, tmp_path):
        recorder(None, RUNNING)
        await asyncio.sleep(5)
        recorder(RUNNING, IDLE)
        await asyncio.sleep(5)
    written = await asyncio.to_thread((tmp_path / "m-17.log").read_text)
    for text in (" ".join(site.texts()), written):
        assert "provisioner.token=*** " in text
        assert "QfJ3x" not in text
        assert "'pw" not in text
        assert "quiet" in text


async def test_a_machine_that_is_forgotten_is_not_recorded_any_more() -> None:
    line = FakeLine(b"x\n")
    async for recorder in recording(Site(line)):
        recorder(None, RUNNING)
        await asyncio.sleep(5)
        recorder(RUNNING, None)
        recorder(None, None)
        await asyncio.sleep(5)
        assert line.closed


@pytest.mark.parametrize("machine", [RUNNING, replace(RUNNING, bmc=None)])
async def test_no_console_harms_nobody(machine: Machine) -> None:
    site = Site(BmcUnsupported("no console"))
    async for recorder in recording(site):
        recorder(None, machine)
        await asyncio.sleep(5)
        assert site.told == []


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ended", [False, True])
async def test_a_machine_that_is_forgotten_takes_its_record_along(tmp_path: Path, ended: bool) -> None:
    (tmp_path / "m-17.old").write_text("before")
    (tmp_path / "m-18.log").write_text("another's")
    async for recorder in recording(Site(FakeLine(b"one\ntwo")), tmp_path):
        recorder(None, RUNNING)
        await asyncio.sleep(5)
        assert await asyncio.to_thread(held, tmp_path) == ["m-17.log", "m-17.old", "m-18.log"]
        if ended:
            recorder(RUNNING, IDLE)
            await asyncio.sleep(5)
        recorder(IDLE, None)
    assert await asyncio.to_thread(held, tmp_path) == ["m-18.log"]


@pytest.mark.looptime(False)
@pytest.mark.parametrize("rest", [b"", b"login: "])
async def test_a_record_ends_once_all_of_it_is_written_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: bytes
) -> None:
    """A disk that is slow: a thread still writes when the record ends. Its machine's are removed then, for good."""
    monkeypatch.setattr(module, "WRITE_S", 0)
    os.mkfifo(tmp_path / "log")  # who opens it waits for a reader
    file, is_taken = LogFile(tmp_path / "log"), asyncio.Event()

    async def record() -> None:
        async with file:
            file.write(b"SeaBIOS\n")
            while file._waiting:
                await asyncio.sleep(0)
            file.write(rest)
            is_taken.set()

    async with asyncio.TaskGroup() as tasks:
        recording = tasks.create_task(record())
        await is_taken.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        was_over = recording.done()
        reader = os.open(tmp_path / "log", os.O_RDWR | os.O_NONBLOCK)
    assert not was_over
    assert os.read(reader, 100) == b"SeaBIOS\n" + rest
    os.close(reader)


@pytest.mark.looptime(False)
async def test_a_record_goes_once_what_is_still_written_of_a_run_that_is_over_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is slow: the thread would make the file anew."""
    monkeypatch.setattr(module, "WRITE_S", 0)
    os.mkfifo(tmp_path / "m-17.log")  # who opens it waits for a reader
    site = Site(FakeLine(b"one\n", b"two"))
    async for recorder in recording(site, tmp_path):
        recorder(None, RUNNING)
        while not site.texts():
            await asyncio.sleep(0)
        recorder(RUNNING, IDLE)
        recorder(IDLE, None)
        for _ in range(100):
            await asyncio.sleep(0)
        there = await asyncio.to_thread(held, tmp_path)
        reader = os.open(tmp_path / "m-17.log", os.O_RDWR | os.O_NONBLOCK)
    os.close(reader)
    assert (there, held(tmp_path)) == (["m-17.log"], [])


SETTLED = {
    "of machines on record": (["m-17.log", "m-17.old"], ["m-17.log", "m-17.old"]),
    "of no machine": (["m-18.log", "m-18.old"], []),
    "by a machine's name, as they were called once": (["node17.log", "node17.old"], ["m-17.log", "m-17.old"]),
    "by its name, and by its id already": (["m-17.log", "node17.log"], ["m-17.log"]),
    "of a machine that was called so": (["node18.log"], []),
    "something else": (["notes.txt"], ["notes.txt"]),
}


@pytest.mark.parametrize(("found", "left"), SETTLED.values(), ids=SETTLED.keys())
def test_records_at_a_start(tmp_path: Path, found: list[str], left: list[str]) -> None:
    for name in found:
        (tmp_path / name).write_text(name)
    settle(tmp_path, {"node17": "m-17"})
    assert held(tmp_path) == left
    if "m-17.log" in left:
        assert (tmp_path / "m-17.log").read_text() == found[0]
    settle(tmp_path / "none", {"node17": "m-17"})


async def test_a_flood_of_lines_is_thinned_out_in_the_trace() -> None:
    site = Site(FakeLine(*[b"[    0.1] something\n"] * 500))
    async for recorder in recording(site):
        recorder(None, RUNNING)
        await asyncio.sleep(2)
        assert BURST_LINES <= len(site.told) <= BURST_LINES + 10


PANIC = "[    9.9] Kernel panic - not syncing: VFS: Unable to mount root fs"


async def test_what_tells_of_a_fault_stands_in_the_trace_after_a_flood_and_is_bounded_too() -> None:
    boot = [b"[    0.1] something\n"] * 300
    killed = [b"Out of memory: Killed process 7\n"] * 300
    site = Site(FakeLine(*boot, *killed, f"{PANIC}\n".encode()))
    async for recorder in recording(site):
        recorder(None, RUNNING)
        await asyncio.sleep(2)
        assert site.texts()[-1] == PANIC
        assert len(site.told) <= 2 * BURST_LINES + 10


def test_budget() -> None:
    budget = Budget(0.0)
    assert sum(budget.take(0.0) for _ in range(100)) == BURST_LINES
    assert sum(budget.take(10.0) for _ in range(100)) == 2
    assert sum(budget.take(1000.0) for _ in range(100)) == BURST_LINES


async def test_a_fault_of_ours_costs_that_record_alone(caplog: pytest.LogCaptureFixture) -> None:
    def observe(_line: TraceLine) -> None:
        raise KeyError("m-17")

    async with Consoles(Bay(FakeLine(b"SeaBIOS\n")).open) as consoles, Recorder(consoles, observe, console_shows) as it:
        it(IDLE, RUNNING)
        await asyncio.sleep(5)
        it(RUNNING, IDLE)
    assert caplog.messages == ["daemon.task-failed task='record node17'"]
