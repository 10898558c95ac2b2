"""The actions of a run, carried out by BMC verbs. Each brings about an end state; doing it twice does no harm."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial

from provisioner.bmc.bootmode import told_uefi
from provisioner.bmc.table import VERBS
from provisioner.bmc.ways import Ways
from provisioner.errors import BmcError
from provisioner.lifecycle.plans import ENSURES
from provisioner.lifecycle.ports import Bmcs
from provisioner.lifecycle.steps import Perform
from provisioner.model.bmc import BmcAddress, BootTarget, Power
from provisioner.model.machine import Machine
from provisioner.model.trace import NOW, Channel, Observe, TraceLine

MEDIA = frozenset({"media.insert", "media.eject"})
_BRINGS = {"on": (Power.ON,), "off": (Power.OFF,), "cycle": (Power.OFF, Power.ON)}
PUSHES = frozenset({"power.soft-off", "power.cycle", "power.reset", "power.nmi"})
"""Verbs that say nothing of the state that follows."""


class Actions:
    """Performs what `lifecycle.steps` asks for."""

    def __init__(self, bmcs: Bmcs, ways: Ways, observe: Observe) -> None:
        self._bmcs = bmcs
        self._ways = ways
        self._acted: dict[str, tuple[str, int]] = {}
        """The run and the step of each machine's last action, where it was carried out: for the one that follows at
        once its board is not asked anew whose it is.
        """
        self._observe = observe
        self.media: Callable[[Machine, str], Awaitable[str]] | None = None
        """Does the steps with a medium (`media.Media.perform`)."""

    async def perform(self, machine: Machine, action: Perform) -> str:
        """Bring about what a step ensures; return a note for the journal. Raises `BmcError`."""
        wanted = ENSURES.get(action.step.name) or network_target(machine)
        started = time.monotonic()
        met = self._acted.pop(machine.id, None) == (action.run_id, action.at - 1)
        ask, bmcs = partial(self._ways.ask, machine, met=met), self._bmcs
        try:
            match wanted:
                case _ if action.step.name in MEDIA and self.media is not None:
                    note = await self.media(machine, action.step.name)
                case Power():
                    await ask(f"power.{wanted}", lambda to, password: bmcs.set_power(to, password, wanted))
                    note = f"power is {wanted}"
                case BootTarget.DISK:
                    await ask(f"boot.always.{wanted}", partial(_boot, bmcs.boot_always, machine, wanted))
                    note = "boots from disk from now on"
                case BootTarget.CD:
                    await ask(f"boot.once.{wanted}", partial(_boot, bmcs.boot_once, machine, wanted))
                    note = "boots from its medium once"
                case _:
                    await ask(f"boot.once.{wanted}", partial(_boot, bmcs.boot_once, machine, wanted))
                    note = f"boots from the network once ({wanted})"
        except BmcError as error:
            self._see(machine, f"bmc.{action.step.name}", f"{action.step.name} failed: {error.message}", ok=False)
            raise
        self._acted[machine.id] = action.run_id, action.at
        self._see(machine, f"bmc.{action.step.name}", f"{note}, {time.monotonic() - started:.1f} s")
        return note

    async def look(self, machine: Machine) -> Power:
        """Read the power. Raises `BmcError`."""
        return await self._ways.ask(machine, "power.status", self._bmcs.power)

    async def look_after(self, machine: Machine) -> Power:
        """Read what an order that was broken off has left of the power. Raises `BmcError`."""
        power = await self.look(machine)
        self._see(machine, "bmc.power-left", f"an order to its power was broken off: it is {power}")
        return power

    async def power(self, machine: Machine, verb: str, check: Callable[[], None]) -> Power:
        """Do what an operator asked of the power, and say what it is then. Raises `BmcError`.

        `check` raises where that is not to be any more: asked each time that the BMC is told something.
        """
        try:
            power = await self._power(machine, verb, check)
        except BmcError as error:
            self._see(machine, f"bmc.power.{verb}", f"power {verb} asked for, it failed: {error.message}", ok=False)
            raise
        self._see(machine, f"bmc.power.{verb}", f"power {verb} asked for, it is {power}")
        return power

    async def _power(self, machine: Machine, verb: str, check: Callable[[], None]) -> Power:
        bmcs = self._bmcs

        def reset(to: BmcAddress, password: str) -> Awaitable[None]:
            check()
            return bmcs.reset(to, password)

        def bring(wanted: Power, to: BmcAddress, password: str) -> Awaitable[None]:
            check()
            return bmcs.set_power(to, password, wanted)

        for wanted in _BRINGS.get(verb, ()):
            await self._ways.ask(machine, f"power.{wanted}", partial(bring, wanted))
        if verb == "reset":
            await self._ways.ask(machine, "power.reset", reset)
        return await self.look(machine)

    async def by_hand(self, machine: Machine, verb: str, outcome: object) -> Power | None:
        """Note what an operator had a machine's board do; say what its power is since, where that is known."""
        if isinstance(outcome, BmcError):
            power, ended = None, f"it failed: {outcome.message}"
        else:
            power = await self._power_after(machine, verb, outcome)
            ended = "it is done" if power is None else f"it is {power}"
        if VERBS[verb].changes:
            self._see(machine, "bmc.by-hand", f"{verb} asked for, {ended}", ok=not isinstance(outcome, BmcError))
        return power

    async def _power_after(self, machine: Machine, verb: str, outcome: object) -> Power | None:
        """Say what a verb has read or brought about; look, where it pushed a button."""
        known = outcome if verb == "power.status" else dict(VERBS[verb].fixed).get("wanted")
        if isinstance(known, Power):
            return known
        if verb not in PUSHES:
            return None
        with contextlib.suppress(BmcError):
            return await self.look(machine)
        return None

    def _see(self, machine: Machine, event: str, text: str, ok: bool = True) -> None:
        run = machine.run.id if machine.run and machine.run.step else ""
        self._observe(TraceLine(NOW, Channel.BMC, event, text, None, machine.id, run, ok))


async def _boot(
    boot: Callable[..., Awaitable[None]], machine: Machine, target: BootTarget, to: BmcAddress, password: str
) -> None:
    await boot(to, password, target, uefi=told_uefi(machine, to))


def network_target(machine: Machine) -> BootTarget:
    """Say which network boot a machine's BMC is asked for."""
    return BootTarget.HTTP if machine.boot_via == "http" else BootTarget.PXE
