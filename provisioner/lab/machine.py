"""A lab machine: one QEMU process for each boot; disk and NVRAM stay.

QEMU ends where the guest or the BMC restarts the machine, and a new process takes its place: so the boot order of a
boot is what it was when that boot began, and "once" is exact whoever restarts. To move the boot index of a running QEMU
would not be: SeaBIOS answers a warm reset with two more of its own, and the first of the three would use up the order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from provisioner.errors import LabError
from provisioner.lab import nvram
from provisioner.lab.accel import Accelerator
from provisioner.lab.builds import BUILDS
from provisioner.lab.console import Console
from provisioner.lab.hardware import GIB, OWN_ORDER, BootChoice, Firmware, Identity, Medium
from provisioner.lab.medium import fetch
from provisioner.lab.process import bound
from provisioner.lab.qemu import Files, Lines, Setup, command_line
from provisioner.lab.qmp import Qmp
from provisioner.model.bmc import BootTarget, Power

log = logging.getLogger(__name__)

RESTARTS = frozenset({"guest-reset", "host-qmp-system-reset"})
"""Reasons of QMP's SHUTDOWN event that mean: the machine restarts, it does not go off."""

BIOS_TARGETS = frozenset({BootTarget.NONE, BootTarget.PXE, BootTarget.DISK, BootTarget.CD})
TARGETS = {
    Firmware.BIOS: BIOS_TARGETS,
    Firmware.UEFI_PXE: BIOS_TARGETS | {BootTarget.BIOS_SETUP},
    Firmware.UEFI_HTTP: BIOS_TARGETS - {BootTarget.PXE} | {BootTarget.HTTP, BootTarget.BIOS_SETUP},
    Firmware.UEFI_PXE6: BIOS_TARGETS | {BootTarget.BIOS_SETUP},
    Firmware.UEFI_SECURE: BIOS_TARGETS | {BootTarget.BIOS_SETUP},
    Firmware.UEFI_SECURE_HTTP: BIOS_TARGETS - {BootTarget.PXE} | {BootTarget.HTTP, BootTarget.BIOS_SETUP},
    Firmware.UEFI_ARM64: BIOS_TARGETS | {BootTarget.BIOS_SETUP},
    Firmware.UEFI_HTTP6: BIOS_TARGETS - {BootTarget.PXE} | {BootTarget.HTTP, BootTarget.BIOS_SETUP},
}


class Ends(NamedTuple):
    """Our ends of the lines to one QEMU process."""

    qmp: socket.socket
    serial: socket.socket


def _first(error: BaseException) -> BaseException:
    """The error at the bottom of a task group's report."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


class QemuMachine:
    """One machine of the rack. `run()` is its mains plug: when it ends, the guest is gone."""

    def __init__(self, identity: Identity, root: Path, tap: str, accelerator: Accelerator) -> None:
        self.identity = identity
        self.files = Files(root)
        self.console = Console()
        self.on_boot: Callable[[BootChoice], BootChoice] = lambda _: OWN_ORDER
        self._setup = Setup(tap, accelerator)
        self._choice = OWN_ORDER
        self._has_cd = False
        self._wanted: asyncio.Queue[asyncio.Future[None]] = asyncio.Queue()
        self._off = asyncio.Event()
        self._off.set()
        self._cut = False
        self._restart = False
        self._process: asyncio.subprocess.Process | None = None
        self._qmp: Qmp | None = None

    @property
    def power(self) -> Power:
        return Power.OFF if self._off.is_set() else Power.ON

    @property
    def targets(self) -> frozenset[BootTarget]:
        return TARGETS[self.identity.firmware]

    @property
    def pid(self) -> int | None:
        """The process id of QEMU while the machine is on."""
        return None if self._process is None else self._process.pid

    def build(self) -> None:
        """Make the empty disk and the NVRAM where they do not exist yet; raise `LabError`."""
        self.files.root.mkdir(parents=True, exist_ok=True)
        for path in (self.files.disk, *self.files.more_disks(self.identity)):
            if not path.exists():
                self._make_disk(path)
        flash = BUILDS[self.identity.firmware].flash
        if flash is not None and not self.files.variables.exists():
            shutil.copyfile(flash.variables, self.files.variables)

    def _make_disk(self, path: Path) -> None:
        octets = self.identity.disk_bytes
        try:
            with path.open("wb") as disk:
                disk.truncate(octets)
        except OSError as error:
            raise LabError(f"{path}: cannot make a disk of {octets / GIB:.0f} GiB: {error.strerror}") from error

    async def run(self) -> None:
        """Start QEMU whenever the machine is switched on, until cancelled."""
        while True:
            asked = await self._wanted.get()
            try:
                while await self._live(asked) and not self._cut:
                    log.info("lab.restart machine=%s", self.identity.name)
            finally:
                self._off.set()

    async def power_on(self) -> None:
        """Switch on; returns when the firmware runs. Already on is success."""
        if self._off.is_set():
            self._off.clear()
            self._cut = False
            asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wanted.put_nowait(asked)
            await asked

    async def power_off(self) -> None:
        """Cut the power; returns when the guest is gone."""
        self._cut = True
        self._kill()
        await self._off.wait()

    def _kill(self) -> None:
        """Not by the process object: asyncio's kill reaps a process that just ended, and then misses its end."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def reset(self) -> None:
        await self._session().execute("system_reset")

    async def press_button(self) -> None:
        await self._session().execute("system_powerdown")

    async def interrupt(self) -> None:
        await self._session().execute("inject-nmi")

    async def insert(self, medium: Medium) -> None:
        """Change the CD; the guest is told of the change if it runs."""
        if medium.uri:
            await fetch(medium.uri, self.files.cd)
        self._has_cd = bool(medium.uri)
        if self._qmp is None:
            return
        if medium.uri:
            await self._qmp.execute("blockdev-change-medium", id="cd", filename=str(self.files.cd), format="raw")
        else:
            await self._qmp.execute("eject", id="cd", force=True)

    async def choose(self, choice: BootChoice) -> None:
        self._choice = choice

    def _session(self) -> Qmp:
        if self._qmp is None:
            raise LabError(f"{self.identity.name} is off")
        return self._qmp

    async def _live(self, asked: asyncio.Future[None]) -> bool:
        """One boot: a QEMU process from start to end; says whether the machine restarts."""
        self._restart = False
        try:
            process, ends = await self._spawn()
            with contextlib.ExitStack() as stack:
                for end in ends:
                    stack.callback(end.close)
                # unbuffered: what was printed is there to be read, also where this process is killed
                printed = await asyncio.to_thread(self.files.serial_log.open, "ab", buffering=0)
                stack.enter_context(self.console.logged(stack.enter_context(printed)))
                async with asyncio.TaskGroup() as group:
                    await self._attend(ends, group)
                    if not asked.done():
                        asked.set_result(None)
                    await process.wait()
        except (LabError, ExceptionGroup, OSError, TimeoutError) as error:
            said = await asyncio.to_thread(self._last_words)
            words = f"{self.identity.name}: QEMU failed: {said or _first(error)}"
            log.error("lab.qemu-failed machine=%s reason=%s", self.identity.name, words)
            if not asked.done():
                asked.set_exception(LabError(words))
        finally:
            await self._bury()
        return self._restart

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, Ends]:
        if nvram.needs_variables(self.identity, self._choice):
            await nvram.write(self.files.variables, self.identity, self._choice)
        ours, theirs = zip(*(socket.socketpair() for _ in range(2)), strict=True)
        has_trust = await asyncio.to_thread(self.files.trusted.exists)
        setup = replace(self._setup, has_cd=self._has_cd, has_trust=has_trust)
        handles = [end.fileno() for end in theirs]
        arguments = bound(*command_line(self.identity, self.files, Lines(*handles), setup, self._choice))
        said = await asyncio.to_thread(self.files.qemu_log.open, "wb")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=handles
            )
        finally:
            said.close()
            for end in theirs:
                end.close()
        if self._cut:
            self._kill()
        return self._process, Ends(*ours)

    async def _attend(self, ends: Ends, group: asyncio.TaskGroup) -> None:
        """Take the process's lines in hand, then let the firmware run: the console misses nothing."""
        qmp = await Qmp.connect(ends.qmp, self._on_event)
        group.create_task(qmp.run())
        group.create_task(self.console.pump(*await asyncio.open_connection(sock=ends.serial)))
        await qmp.execute("cont")
        self._qmp = qmp
        self._choice = self.on_boot(self._choice)

    def _on_event(self, name: str, data: dict[str, Any]) -> None:
        if name == "SHUTDOWN":
            self._restart = data.get("reason") in RESTARTS

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            return self.files.qemu_log.read_text(errors="replace").strip()[-300:]
        return ""

    async def _bury(self) -> None:
        self._kill()
        process, self._process, self._qmp = self._process, None, None
        if process is not None:
            await process.wait()
