"""What real boards do wrong, as things that a simulated board can be told to do. No I/O.

A quirk is how a board is; a fault is what happens to it. Both are switched on and off while the board runs
(`provisionctl lab fault`); a fault may strike a given number of times only. docs/faults.md says what a user sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from provisioner.errors import LabError


class Fault(StrEnum):
    """Each names what an operator sees of it."""

    # how boards are
    NO_POWER_CYCLE = "no-power-cycle"
    MODE_RESET = "mode-reset"
    SETTINGS_OBJECT = "settings-object"
    ETAG_REQUIRED = "etag-required"
    SLASH_REDIRECT = "slash-redirect"
    RESET_TASK = "reset-task"
    ONCE_STAYS = "once-stays"
    FLAGS_EXPIRE = "flags-expire"
    FLAGS_UNREADABLE = "flags-unreadable"
    SUITE_3_ONLY = "suite-3-only"
    SLOW_POWER_OFF = "slow-power-off"
    STALE_POWER = "stale-power"
    CONSOLE_IN_SHELL = "console-in-shell"
    # what happens to them
    ETAG_MOVES = "etag-moves"
    LOST_SESSION = "lost-session"
    SESSIONS_FULL = "sessions-full"
    UNAVAILABLE = "unavailable"
    REDIRECT_LOOP = "redirect-loop"
    STUCK_TASK = "stuck-task"
    STUCK_MEDIA = "stuck-media"
    NOT_JSON = "not-json"
    TRUNCATED = "truncated"
    SLOW_ANSWERS = "slow-answers"
    NODE_BUSY = "node-busy"
    LOSSY = "lossy"
    DEAF = "deaf"
    DEAD = "dead"


WHAT: Mapping[Fault, str] = {
    Fault.NO_POWER_CYCLE: "Redfish offers no PowerCycle",
    Fault.MODE_RESET: "a boot override that names no mode sets it to Legacy, and UEFI firmware ignores it",
    Fault.SETTINGS_OBJECT: "the boot override is changed in the resource's settings object only",
    Fault.ETAG_REQUIRED: "a change without If-Match is refused (428)",
    Fault.SLASH_REDIRECT: "a path without a slash at its end is redirected (308)",
    Fault.RESET_TASK: "a reset is answered by a task (202)",
    Fault.ONCE_STAYS: "a one-time boot device is not given up after the boot",
    Fault.FLAGS_EXPIRE: "IPMI boot flags are forgotten after a minute without a power command",
    Fault.FLAGS_UNREADABLE: "IPMI boot flags always read as not valid",
    Fault.SUITE_3_ONLY: "IPMI offers cipher suite 3 only",
    Fault.SLOW_POWER_OFF: "power takes 20 s to go off",
    Fault.STALE_POWER: "the power reading lags 20 s behind",
    Fault.CONSOLE_IN_SHELL: "SSH leads to the board's own shell, which has to be asked for the console",
    Fault.ETAG_MOVES: "the version changes under a change: it is refused (412)",
    Fault.LOST_SESSION: "the Redfish session is forgotten (401)",
    Fault.SESSIONS_FULL: "no Redfish session is to be had (503)",
    Fault.UNAVAILABLE: "Redfish is unavailable for a moment (503, Retry-After)",
    Fault.REDIRECT_LOOP: "Redfish redirects a path to itself",
    Fault.STUCK_TASK: "a task never ends, though what it stands for is done",
    Fault.STUCK_MEDIA: "virtual media is never ejected",
    Fault.NOT_JSON: "Redfish answers with a page of HTML",
    Fault.TRUNCATED: "Redfish's answers break off in the middle",
    Fault.SLOW_ANSWERS: "answers take 30 s",
    Fault.NODE_BUSY: "IPMI commands are refused: node busy",
    Fault.LOSSY: "every fifth IPMI packet is lost",
    Fault.DEAF: "power commands are accepted, and nothing happens",
    Fault.DEAD: "the board answers nothing",
}
"""What a board with each of them does."""

LOSES_EVERY = 5
LAG_S = 20.0
SLOW_S = 30.0
DEAD_S = 600.0
FLAGS_S = 60.0
"""IPMI v2.0 section 28.12: a board clears the boot flags a minute after they were set, if no command comes."""


class Faults:
    """What is wrong with one board now."""

    def __init__(self, on: Iterable[Fault] = ()) -> None:
        self._left: dict[Fault, int | None] = dict.fromkeys(on)
        self._packets = 0

    def start(self, fault: Fault, times: int | None = None) -> None:
        """Switch it on; with `times` it strikes so often, then it is gone."""
        self._left[fault] = times

    def stop(self, fault: Fault) -> None:
        self._left.pop(fault, None)

    def clear(self) -> None:
        self._left.clear()

    def on(self, fault: Fault) -> bool:
        """Whether the board is like that now."""
        return fault in self._left

    def strikes(self, fault: Fault) -> bool:
        """Whether it happens this time; counts."""
        if fault not in self._left:
            return False
        left = self._left[fault]
        if left is not None:
            if left <= 1:
                del self._left[fault]
            else:
                self._left[fault] = left - 1
        return True

    def loses_packet(self) -> bool:
        """Whether this packet of IPMI is lost."""
        self._packets += 1
        return self.on(Fault.LOSSY) and self._packets % LOSES_EVERY == 0

    def listed(self) -> list[str]:
        """What is on, for people."""
        return [fault if left is None else f"{fault} (x{left})" for fault, left in sorted(self._left.items())]


def parse(name: str) -> Fault:
    """The fault of this name; raise `LabError`."""
    try:
        return Fault(name)
    except ValueError:
        raise LabError(f"{name}: no such fault", hint="`provisionctl lab faults` lists them") from None
