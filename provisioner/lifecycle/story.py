"""What is known of one attempt, ready to be judged: the machine, its run, and the lines of its trace. No I/O."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate

from provisioner.model.machine import Machine, Run
from provisioner.model.trace import Channel, TraceLine

NETWORK = (Channel.DHCP, Channel.DHCP6, Channel.PROXY)
POWERS_ON = ("power.on", "finalize.on")
"""Steps that switch the machine on."""
LITTLE_S = 0.001
LOOKED_AT = 400
"""Characters of a line of a serial console that are looked at: a machine may print a MB a second, of what it likes."""
ANSWERS = ("dhcp.offer", "dhcp.ack", "dhcp6.advertise", "dhcp6.reply", "dhcp.proxy")
OS_ASKS = "an operating system asks"
"""How a DHCP line says that no firmware asked (`boot.plan`)."""


@dataclass(frozen=True)
class Story:
    """One attempt. `lines` are those since the run began, in order; `now` is when it is judged, or its end.

    There are thousands of them, and some fifty diagnoses that ask for some: they are sorted once.
    """

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
        """List lines, but for those of the console, whose id begins with `event`, not before `after`.

        `pattern` is what their text has.
        """
        word, dot, rest = event.partition(".")
        lines = _since(self._by_word.get(word, ()) if dot else self.heard, after)
        if rest or not dot:
            lines = [x for x in lines if x.event.startswith(event)]
        if pattern:
            search = re.compile(pattern, re.IGNORECASE).search
            lines = [x for x in lines if search(x.text)]
        return list(lines)

    def console(self, pattern: str, *words: str) -> list[int]:
        """List which lines of `said` have `pattern`. Those have one of `words`, in small letters."""
        search = re.compile(pattern, re.IGNORECASE).search
        return [at for at in self._with(words) if search(self.said[at].text[:LOOKED_AT])]

    def firmware_asked(self, after: float = 0.0) -> list[TraceLine]:
        """List the answers to DHCP requests of firmware and boot loaders."""
        return [x for x in _since(self._answers, after) if OS_ASKS not in x.text]

    def system_asked(self, after: float = 0.0) -> list[TraceLine]:
        """List the answers to DHCP requests of operating systems."""
        return [x for x in _since(self._answers, after) if OS_ASKS in x.text]

    @cached_property
    def said(self) -> Sequence[TraceLine]:
        """What its serial console printed."""
        return [line for line in self.lines if line.channel is Channel.CONSOLE]

    @cached_property
    def heard(self) -> Sequence[TraceLine]:
        """Everything else."""
        return [line for line in self.lines if line.channel is not Channel.CONSOLE]

    @cached_property
    def _by_word(self) -> Mapping[str, Sequence[TraceLine]]:
        found: defaultdict[str, list[TraceLine]] = defaultdict(list)
        for line in self.heard:
            found[line.event.partition(".")[0]].append(line)
        return found

    @cached_property
    def _answers(self) -> Sequence[TraceLine]:
        return [x for x in self.heard if x.channel in NETWORK and x.event.startswith(ANSWERS)]

    @cached_property
    def _printed(self) -> tuple[str, Sequence[int]]:
        """What the console printed as one text in small letters, and where in it each line begins."""
        small = [line.text[:LOOKED_AT].lower() for line in self.said]
        return "\n".join(small), list(accumulate((len(text) + 1 for text in small), initial=0))

    def _with(self, words: Sequence[str]) -> list[int]:
        text, begins = self._printed
        found: set[int] = set()
        for word in words:
            at = text.find(word)
            while at >= 0:
                line = bisect_right(begins, at) - 1
                found.add(line)
                at = text.find(word, begins[line + 1])
        return sorted(found)

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


def _since(lines: Sequence[TraceLine], after: float) -> Sequence[TraceLine]:
    return lines[bisect_left(lines, after, key=lambda line: line.at) :] if after else lines


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
