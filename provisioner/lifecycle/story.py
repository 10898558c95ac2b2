"""What is known of one attempt, ready to be judged: the machine, its run, and the lines of its trace. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from provisioner.model.machine import Machine, Run
from provisioner.model.trace import Channel, TraceLine

NETWORK = (Channel.DHCP, Channel.DHCP6, Channel.PROXY)
POWERS_ON = ("power.on", "finalize.on")
"""Steps that switch the machine on."""
LITTLE_S = 0.001
LOOKED_AT = 400
"""Characters of a line of a serial console that are looked at: a machine may print a MB a second, of what it likes."""
OS_ASKS = "an operating system asks"
"""How a DHCP line says that no firmware asked (`boot.plan`)."""


@dataclass(frozen=True, slots=True)
class Story:
    """One attempt. `lines` are those since the run began, in order; `now` is when it is judged, or its end."""

    machine: Machine
    lines: Sequence[TraceLine]
    now: float

    @property
    def run(self) -> Run | None:
        """The last run, whether it is under way or ended."""
        return self.machine.run

    @property
    def where(self) -> str:
        """Name the step that is under way, or the one that the run stopped at."""
        run = self.run
        if run is None:
            return ""
        return run.steps[run.at].name if run.at < len(run.steps) else ""

    @property
    def failed(self) -> str:
        """What the last run failed with; empty where it did not."""
        return self.machine.failure.reason if self.machine.failure else ""

    @property
    def cancelled(self) -> bool:
        """Say whether the last run was ended by somebody, and not by a fault."""
        return self.machine.failure is not None and self.run is not None and self.run.outcome == "cancelled"

    @property
    def since(self) -> float:
        """When the step at which the run stands, or stopped, was begun."""
        run = self.run
        if run is None:
            return 0.0
        if run.step is not None:
            return run.step_started
        return run.journal[-1].started if run.journal else run.started

    @property
    def waited_s(self) -> float:
        """How long the step under way has waited, or waited before it failed."""
        return max(0.0, self.now - self.since)

    def find(self, event: str, pattern: str = "", after: float = 0.0) -> list[TraceLine]:
        """List lines whose id begins with `event` and whose text has `pattern`, not before `after`."""
        search = re.compile(pattern, re.IGNORECASE).search
        return [x for x in self.lines if x.event.startswith(event) and x.at >= after and search(x.text)]

    def console(self, pattern: str) -> list[TraceLine]:
        """List lines of the serial console that have `pattern`."""
        search = re.compile(pattern, re.IGNORECASE).search
        return [line for line in self.lines if line.channel is Channel.CONSOLE and search(line.text[:LOOKED_AT])]

    def firmware_asked(self, after: float = 0.0) -> list[TraceLine]:
        """List the answers to DHCP requests of firmware and boot loaders."""
        return [x for x in self._dhcp(after) if OS_ASKS not in x.text]

    def system_asked(self, after: float = 0.0) -> list[TraceLine]:
        """List the answers to DHCP requests of operating systems."""
        return [x for x in self._dhcp(after) if OS_ASKS in x.text]

    def _dhcp(self, after: float) -> Iterator[TraceLine]:
        answers = ("dhcp.offer", "dhcp.ack", "dhcp6.advertise", "dhcp6.reply", "dhcp.proxy")
        return (x for x in self.lines if x.channel in NETWORK and x.at >= after and x.event.startswith(answers))

    @property
    def powered(self) -> float:
        """When the machine was last told to be on in this run; the run's beginning where that was not yet.

        Told, not seen on: many a BMC says so only when the machine has asked for its address and loader.
        """
        run = self.run
        if run is None:
            return 0.0
        if run.step is not None and run.step.name in POWERS_ON:
            return run.step_started
        return next((x.started for x in reversed(run.journal) if x.step in POWERS_ON), run.started)


def in_order(run: Run | None, lines: Sequence[TraceLine], now: float) -> Sequence[TraceLine]:
    """Put lines, as they came since a run's first one, in the order of their times; what was before it is left out.

    What was seen before anybody knew whose it was comes late. Where the daemon was started with its clock set back
    since the run began, times say nothing of what was first: each line is a little later than what came before it.
    """
    if run is None:
        return lines
    if now >= run.started:
        return sorted((line for line in lines if line.at >= run.started), key=lambda line: line.at)
    latest, found = run.started, []
    for line in lines:
        latest = max(latest + LITTLE_S, line.at)
        found.append(replace(line, at=latest))
    return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is the matter, as an operator is told it.

    `id` is the diagnosis (docs/diagnoses.md), "waiting", "fine" or "unknown"; `evidence` the lines that speak for it.
    """

    id: str
    text: str
    todo: str = ""
    evidence: tuple[TraceLine, ...] = field(default=())
    tried: tuple[str, ...] = ()
