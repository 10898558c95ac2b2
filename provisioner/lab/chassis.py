"""The chassis behind both BMC protocols: power verbs in order, and the boot override with its one-shot rule."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from provisioner.errors import LabError
from provisioner.lab.faults import FLAGS_S, LAG_S, Fault, Faults
from provisioner.lab.hardware import OWN_ORDER, BootChoice, Hardware, Medium
from provisioner.model.bmc import BootTarget, Power

log = logging.getLogger(__name__)

PENDING = 16
"""Verbs asked for and not done yet; a board that is asked for more says that it is busy."""
EVENTS = 512
"""Entries of the event log; the oldest go first, as on boards with a circular log."""


class Verb(StrEnum):
    """What a BMC is asked to do with the power."""

    ON = "on"
    OFF = "off"
    CYCLE = "cycle"
    RESET = "reset"
    SOFT_OFF = "soft-off"
    NMI = "nmi"


class Lifetime(StrEnum):
    """How long a boot override holds."""

    DISABLED = "disabled"
    ONCE = "once"
    CONTINUOUS = "continuous"


class Mode(StrEnum):
    """The firmware mode that an override asks for."""

    LEGACY = "legacy"
    UEFI = "uefi"


@dataclass(frozen=True, slots=True)
class Override:
    """The boot device that somebody asked for through the BMC. `mode` is None where the request named none."""

    choice: BootChoice = OWN_ORDER
    lifetime: Lifetime = Lifetime.DISABLED
    mode: Mode | None = None

    def next_boot(self) -> BootChoice:
        """What the next boot tries first."""
        return OWN_ORDER if self.lifetime is Lifetime.DISABLED else self.choice

    def after_boot(self, tried: BootChoice) -> Override:
        """The override after a boot that tried `tried` first: a one-shot is spent by the boot that used it."""
        if self.lifetime is Lifetime.ONCE and self.choice == tried:
            return Override(mode=self.mode)
        return self


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the board's event log. `at` is in seconds since the epoch."""

    number: int
    at: float
    what: str


class Chassis:
    """One machine's power and boot order. Requests return at once; `run()` carries them out one after another."""

    def __init__(
        self, hardware: Hardware, clock: Callable[[], float] = time.time, faults: Faults | None = None
    ) -> None:
        self.hardware = hardware
        self.faults = Faults() if faults is None else faults
        self.override = Override()
        self.events: deque[Event] = deque(maxlen=EVENTS)
        self.last_cause: Verb | None = None
        self.boots = 0
        self.pending: list[Verb] = []
        """What was asked for and is not done yet; the first is under way."""
        self._clock = clock
        self._numbers = 0
        self._set_at = 0.0
        self._changed_at = -math.inf
        self._before = Power.OFF
        self._todo: asyncio.Queue[Verb | Medium | None] = asyncio.Queue()
        hardware.on_boot = self._boot_began

    @property
    def power(self) -> Power:
        """What is observed now: a guest that switched itself off is off."""
        return self.hardware.power

    @property
    def reading(self) -> Power:
        """What the board says of it; some boards lag behind."""
        if self.faults.on(Fault.STALE_POWER) and self._clock() - self._changed_at < LAG_S:
            return self._before
        return self.power

    @property
    def is_busy(self) -> bool:
        return len(self.pending) >= PENDING

    def refuses(self, verb: Verb) -> bool:
        """Whether the verb makes no sense in the present state: a machine that is off cannot be restarted."""
        return verb in (Verb.CYCLE, Verb.RESET, Verb.NMI) and self.power is Power.OFF and not self.pending

    def request(self, verb: Verb) -> None:
        """Do this after what was asked for before."""
        self.pending.append(verb)
        self._todo.put_nowait(verb)

    def set_override(self, override: Override) -> None:
        """Take a new boot override; it holds for whatever boots next."""
        self.override = override
        self._set_at = self._clock()
        self._todo.put_nowait(None)

    def insert(self, medium: Medium) -> None:
        """Change what is in the CD drive."""
        self._todo.put_nowait(medium)

    def note(self, what: str) -> None:
        """Write a line into the event log."""
        self._numbers += 1
        self.events.append(Event(self._numbers, self._clock(), what))

    async def idle(self) -> None:
        """Wait until all that was asked for is done."""
        await self._todo.join()

    async def run(self) -> None:
        """Carry out what the BMC is asked for, until cancelled."""
        while True:
            verb = await self._todo.get()
            try:
                await self._perform(verb)
            except LabError as error:
                self.note(f"failed: {verb}")
                log.warning("lab.verb-failed machine=%s verb=%s reason=%s", self.hardware.identity.name, verb, error)
            finally:
                if isinstance(verb, Verb):
                    self.pending.pop(0)
                self._todo.task_done()

    async def _perform(self, what: Verb | Medium | None) -> None:
        match what:
            case None:
                await self.hardware.choose(self._next_boot())
            case Medium():
                await self.hardware.insert(what)
            case _ if not self.faults.strikes(Fault.DEAF):
                log.info("lab.verb machine=%s verb=%s", self.hardware.identity.name, what)
                self.last_cause = what
                self.note(f"power {what}")
                await self._forget_old_flags()
                self._before = self.power
                await self._switch(what)
                self._changed_at = self._clock()

    async def _switch(self, verb: Verb) -> None:
        match verb:
            case Verb.ON:
                await self.hardware.power_on()
            case Verb.OFF:
                await self._power_off()
            case Verb.CYCLE:
                await self._power_off()
                await self.hardware.power_on()
            case _:
                await self._signal(verb)

    async def _power_off(self) -> None:
        if self.faults.on(Fault.SLOW_POWER_OFF):
            await asyncio.sleep(LAG_S)
        await self.hardware.power_off()

    async def _forget_old_flags(self) -> None:
        if self.faults.on(Fault.FLAGS_EXPIRE) and self._clock() - self._set_at > FLAGS_S:
            self.override = Override()
            await self.hardware.choose(OWN_ORDER)
        self._set_at = self._clock()

    def _next_boot(self) -> BootChoice:
        """What the firmware makes of the override: one for a mode that it does not have is ignored."""
        own = Mode.UEFI if self.hardware.identity.firmware.is_uefi else Mode.LEGACY
        is_other = self.override.mode not in (None, own)
        return OWN_ORDER if is_other and self.faults.on(Fault.MODE_RESET) else self.override.next_boot()

    async def _signal(self, verb: Verb) -> None:
        """Verbs for a running guest; without one there is nobody to hear them."""
        if self.power is Power.OFF:
            return
        signals = {
            Verb.RESET: self.hardware.reset,
            Verb.SOFT_OFF: self.hardware.press_button,
            Verb.NMI: self.hardware.interrupt,
        }
        await signals[verb]()

    def _boot_began(self, tried: BootChoice) -> BootChoice:
        self.boots += 1
        if not self.faults.on(Fault.ONCE_STAYS):
            self.override = self.override.after_boot(tried)
        target = "own order" if tried.target is BootTarget.NONE else tried.target.value
        self.note(f"boot: {target}")
        log.info("lab.boot machine=%s first=%s", self.hardware.identity.name, target)
        return self._next_boot()
