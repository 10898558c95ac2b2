"""One sentence on what a machine waits for or why it failed, what was tried, and what to do. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence

from provisioner.lifecycle.diagnoses import DIAGNOSES, HELD, Diagnosis
from provisioner.lifecycle.endings import stands_where_it_stopped
from provisioner.lifecycle.plans import KINDS
from provisioner.lifecycle.story import LOOKED_AT, Story, Verdict, in_order
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine, Run, State
from provisioner.model.trace import TraceLine

EVIDENCE = 5
"""Lines that a verdict shows."""
SAYINGS = 3
"""Of them, lines of its console that tell what a machine does that is waited for."""
_STAMP = re.compile(r"^\[ *\d+\.\d+\] *")
"""The time that kernels, and our discovery system, put before a line."""
_WORD = re.compile(r"[^\W\d_]{3,}")
"""What a line has that says something; it is more than the name of a port, a number, or a ruler."""

WAITS = {
    "power.off": "its BMC to switch it off",
    "boot.network": "its BMC to take the order to boot from the network",
    "power.on": "its BMC to switch it on",
    "wait.dhcp": "its firmware to ask for an address",
    "wait.loader": "it to fetch a boot loader",
    "wait.script": "its loader to fetch the boot script",
    "media.insert": "its BMC to take its medium",
    "boot.media": "its BMC to take the boot order",
    "media.eject": "its BMC to give its medium back",
    "wait.facts": "the discovery system to start and report",
    "wait.job": "its job to end",
    "wait.answer": "its installer to fetch an answer file",
    "disk.next": "its BMC to take the order to boot from disk",
    "wait.installed": "its installer to end, and the installed system to report",
    "finalize.off": "its BMC to switch it off",
    "boot.disk": "its BMC to take the order to boot from disk",
    "finalize.on": "its BMC to switch it on",
    "wait.local-boot": "it to start from its disk",
    "wait.phone-home": "the installed system to report",
    "cancel.off": "its BMC to switch it off, since it may be writing to its disk: the run was cancelled",
}
assert WAITS.keys() == KINDS.keys()
MEANWHILE = {
    "wait.dhcp": "big servers take up to ten minutes to ask; if this one is faster, check its port and VLAN",
}
"""What can be looked at while a wait is not yet so long that something has to be wrong."""


def why(machine: Machine, lines: Sequence[TraceLine], now: float, port: int = 8080) -> Verdict:
    """Judge a machine by the trace of its last run (`lines`, as they came). What fits no rule is "unknown".

    A run that has ended is judged as it was when it ended, whenever somebody asks. What somebody did to it comes before
    what the trace suggests: a hold since then, and that it was cancelled.
    """
    run = machine.run
    story = Story(machine, in_order(run, lines, now), run.ended if run is not None and run.ended else now)
    trouble = bool(story.failed) or (run is not None and run.step is not None) or machine.hold
    if trouble:
        for diagnosis in (HELD,) if story.cancelled else DIAGNOSES:
            evidence = diagnosis.test(story)
            if evidence is not None:
                return _verdict(story, diagnosis, evidence, port)
    return _plain(story)


def _verdict(story: Story, diagnosis: Diagnosis, evidence: Sequence[TraceLine], port: int) -> Verdict:
    machine = story.machine
    hold = machine.hold.reason if machine.hold else ""
    arch = "arm64" if evidence and "aa64." in evidence[-1].text else "amd64"  # of a loader, as its name says
    words = {"name": machine.name, "port": port, "via": machine.boot_via, "arch": arch}
    words |= {"hold": hold, "failure": story.failed}
    text = f"{machine.name}: {diagnosis.text.format(**words)}"
    return Verdict(diagnosis.id, text, diagnosis.todo.format(**words), tuple(evidence[-EVIDENCE:]), _tried(machine.run))


def _plain(story: Story) -> Verdict:
    machine, run = story.machine, story.machine.run
    if run is not None and run.step is not None:
        left = max(0.0, run.deadline - story.now)
        percent = f" ({run.percent:.0f} %)" if run.percent is not None else ""
        text = f"{machine.name} waits for {WAITS[run.step.name]}{percent}, since {story.waited_s:.0f} s"
        meanwhile = f"; {MEANWHILE[run.step.name]}" if run.step.name in MEANWHILE else ""
        return Verdict("waiting", text, f"it has {left:.0f} s left for that{meanwhile}", _latest(story), _tried(run))
    if machine.failure is not None and run is not None and story.cancelled:
        text = f"{machine.name}: at {machine.failure.phase}, {run.name} was {machine.failure.reason}"
        takes_up = "takes it up"
        if machine.state is State.QUARANTINED and stands_where_it_stopped(machine):
            text, takes_up = f"{text}; its disks may be half erased, so it is quarantined", "erases them anew"
        down = machine.state is State.ACTIVE and machine.power is Power.OFF
        text, on = (f"{text}; its power is off", f"`provisionctl power {machine.name} on`") if down else (text, "")
        again = f"`provisionctl resume {machine.name}` {takes_up}" if stands_where_it_stopped(machine) else ""
        todo = "; ".join(part for part in (machine.failure.hint, on, again) if part)
        return Verdict("cancelled", text, todo, tuple(story.lines[-EVIDENCE:]), _tried(run))
    if machine.failure is not None:
        text = f"{machine.name} failed at {machine.failure.phase}: {machine.failure.reason}"
        todo = machine.failure.hint or "the last lines of the trace are all that is known"
        return Verdict("unknown", text, todo, tuple(story.lines[-EVIDENCE:]), _tried(run))
    return Verdict("fine", f"{machine.name} is {machine.state}, and nothing was asked of it that is not done")


def _latest(story: Story) -> tuple[TraceLine, ...]:
    """Take what was seen last, and what its console said last since the step began; what it said again, once."""
    said: dict[str, TraceLine] = {}
    for line in reversed(story.said):
        if line.at < story.since or len(said) == SAYINGS:
            break
        if _WORD.search(line.text[:LOOKED_AT]):
            said.setdefault(_STAMP.sub("", line.text), line)
    return tuple(sorted([*story.heard[-1:], *reversed(said.values())], key=lambda line: line.at))


def _tried(run: Run | None) -> tuple[str, ...]:
    """Say what was tried more than once, or did not work."""
    if run is None:
        return ()
    return tuple(
        f"{line.step}, try {line.attempt}: {line.note or line.outcome}"
        for line in run.journal
        if line.outcome != "done"
    )
