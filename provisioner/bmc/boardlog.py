"""What boards wrote into their own event logs, in the traces of machines whose run failed.

Boards forget the time and number their entries anew, so what is new cannot be told; the last entries are shown with the
board's own time. A board that gives no log is left alone; a run never waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from provisioner.errors import ProvisionerError
from provisioner.model.board import Health, LogEntry
from provisioner.model.machine import Machine
from provisioner.model.trace import NOW, Channel, Observe, TraceLine
from provisioner.services import Apart

log = logging.getLogger(__name__)

ReadLog = Callable[[Machine], Awaitable[Sequence[LogEntry]]]
"""Reads the event log of a machine's board, oldest first."""

ENTRIES = 10
TEXT_CHARS = 300
AT_ONCE = 8
"""Boards that are read together: a log has hundreds of entries, and the same boards have runs to serve."""
SOUND = (Health.OK, Health.UNKNOWN)


class BoardLogs:
    """Follows machines. Use as `async with`."""

    def __init__(self, read: ReadLog, observe: Observe) -> None:
        self._read = read
        self._observe = observe
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks = Apart()
        self._reading: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> BoardLogs:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._reading.values():
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def __call__(self, before: Machine | None, machine: Machine | None) -> None:
        """Hear of a change: look where a run has just failed, once for each machine."""
        if before is None or machine is None or machine.bmc is None or machine.run is None:
            return
        was = before.run is not None and before.run.id == machine.run.id and before.run.step is not None
        if was and machine.run.outcome == "failed" and machine.id not in self._reading:
            self._reading[machine.id] = self._tasks.create_task(
                self._tell(machine, machine.run.id), f"log of {machine.name}'s board"
            )

    async def _tell(self, machine: Machine, run: str) -> None:
        try:
            async with self._places:
                entries = (await self._read(machine))[-ENTRIES:]
        except ProvisionerError as error:
            log.info("bmc.log-none bmc=%s error=%s", machine.bmc, error.message)
        else:
            for entry in entries:
                text = " ".join(f"board's log: {entry.at} {entry.sensor} {entry.text}".split())[:TEXT_CHARS]
                ok = entry.severity in SOUND
                self._observe(TraceLine(NOW, Channel.BMC, "bmc.event", text, None, machine.id, run, ok))
        finally:
            del self._reading[machine.id]
