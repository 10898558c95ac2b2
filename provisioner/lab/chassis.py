"""The chassis behind both BMC protocols: power verbs in order, and the boot override with its one-shot rule."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from provisioner.errors import LabError
from provisioner.lab.hardware import OWN_ORDER, BootChoice, Hardware
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

    def __init__(self, hardware: Hardware, clock: Callable[[], float] = time.time) -> None:
        self.hardware = hardware
        self.override = Override()
        self.events: deque[Event] = deque(maxlen=EVENTS)
        self.last_cause: Verb | None = None
        self.boots = 0
        self.pending: list[Verb] = []
        """What was asked for and is not done yet; the first is under way."""
        self._clock = clock
        self._numbers = 0
        self._todo: asyncio.Queue[Verb | None] = asyncio.Queue()
        hardware.on_boot = self._boot_began

    @property
    def power(self) -> Power:
        """What is observed now: a guest that switched itself off is off."""
        return self.hardware.power

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
        self._todo.put_nowait(None)

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
                if verb is not None:
                    self.pending.pop(0)
                self._todo.task_done()

    async def _perform(self, verb: Verb | None) -> None:
        if verb is None:
            await self.hardware.choose(self.override.next_boot())
            return
        log.info("lab.verb machine=%s verb=%s", self.hardware.identity.name, verb)
        self.last_cause = verb
        self.note(f"power {verb}")
        match verb:
            case Verb.ON:
                await self.hardware.power_on()
            case Verb.OFF:
                await self.hardware.power_off()
            case Verb.CYCLE:
                await self.hardware.power_off()
                await self.hardware.power_on()
            case _:
                await self._signal(verb)

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
        self.override = self.override.after_boot(tried)
        target = "own order" if tried.target is BootTarget.NONE else tried.target.value
        self.note(f"boot: {target}")
        log.info("lab.boot machine=%s first=%s", self.hardware.identity.name, target)
        return self.override.next_boot()
