"""The board's event log in the trace of a machine whose run failed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from provisioner.bmc.boardlog import ENTRIES, BoardLogs
from provisioner.errors import BmcUnsupported
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.board import Health, LogEntry
from provisioner.model.machine import Machine, Phase, Run, State, Step
from provisioner.model.trace import TraceLine

RUN = Run("r1", "deploy", "debian-12", (Step("power.off", Phase.POWER, 60),))
RUNS = Machine("m1", "node17", State.DEPLOYING, bmc=BmcAddress(Driver.IPMI, "10.0.0.1", 623, "a"), run=RUN)
FAILED = replace(RUNS, state=State.READY, run=replace(RUN, outcome="failed"))
DONE = replace(RUNS, state=State.ACTIVE, run=replace(RUN, outcome="done"))
MEMORY = LogEntry("7", "Uncorrectable ECC", "2026-01-01", Health.CRITICAL, "DIMM 3")


class Boards:
    """Boards that have a log, or none."""

    def __init__(self, *entries: LogEntry, fault: Exception | None = None) -> None:
        self.entries, self.fault, self.reads = entries, fault, 0

    async def read(self, machine: Machine) -> tuple[LogEntry, ...]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return self.entries


async def told(boards: Boards, *changes: tuple[Machine | None, Machine | None]) -> list[TraceLine]:
    lines: list[TraceLine] = []
    async with BoardLogs(boards.read, lines.append) as logs:
        for before, after in changes:
            logs(before, after)
        for _ in range(5):
            await asyncio.sleep(0)
    return lines


async def test_the_last_entries_of_a_board_whose_run_failed() -> None:
    old = tuple(LogEntry(str(at), "Fan ok", "2025-01-01", Health.OK) for at in range(50))
    lines = await told(Boards(*old, MEMORY), (RUNS, FAILED))
    assert len(lines) == ENTRIES
    assert (lines[-1].text, lines[-1].ok) == ("board's log: 2026-01-01 DIMM 3 Uncorrectable ECC", False)
    assert {(line.event, line.machine, line.run) for line in lines} == {("bmc.event", "m1", "r1")}
    assert lines[0].ok


async def test_nothing_else_is_a_reason_to_look() -> None:
    for change in ((RUNS, DONE), (None, FAILED), (FAILED, FAILED), (RUNS, None), (RUNS, RUNS)):
        boards = Boards(MEMORY)
        assert (await told(boards, change), boards.reads) == ([], 0)
    assert await told(Boards(MEMORY), (replace(RUNS, bmc=None), replace(FAILED, bmc=None))) == []


async def test_a_board_without_a_log_is_left_alone_and_one_is_read_once_at_a_time() -> None:
    boards = Boards(fault=BmcUnsupported("no log"))
    assert await told(boards, (RUNS, FAILED), (RUNS, FAILED)) == []
    assert boards.reads == 1


async def test_a_fault_of_ours_costs_that_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert await told(Boards(fault=KeyError("Entries")), (RUNS, FAILED)) == []
    assert caplog.messages == ['daemon.task-failed task="log of node17\'s board"']
