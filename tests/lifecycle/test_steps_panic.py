"""A kernel that gives up is not waited for: the attempt begins anew once, then the run fails with what it said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.lifecycle.inputs import JobTaken, Panicked
from provisioner.lifecycle.plans import KINDS, PANICS_AT, VERBS, Signal, Verb
from provisioner.lifecycle.steps import advance
from provisioner.lifecycle.symptoms import panicked
from provisioner.model.machine import Machine, State
from provisioner.model.trace import Channel, TraceLine
from tests.lifecycle.rack import Rack
from tests.lifecycle.test_conductor import ready, settled
from tests.lifecycle.test_faults import until, working
from tests.lifecycle.test_steps import at_step, completing, step_of

TEXT = "[    1.204311] Kernel panic - not syncing: IO-APIC + timer doesn't work!"
GIVES_UP = Panicked("r1", f"its kernel panicked: {TEXT}")
BEGINS_AT = {
    "the discovery system": ("wait.facts", Verb.DEPLOY, "power.off"),
    "the discovery system with its job": ("wait.job", Verb.DEPLOY, "power.off"),
    "an installer": ("wait.answer", Verb.INSTALL, "power.off"),
    "an installer at work": ("wait.installed", Verb.INSTALL, "power.off"),
    "the system on the disk": ("wait.local-boot", Verb.DEPLOY, "finalize.off"),
    "the same, with its address": ("wait.phone-home", Verb.DEPLOY, "finalize.off"),
}


def again(machine: Machine, step: str) -> Machine:
    while step_of(machine) != step:
        machine, _ = advance(machine, completing(machine), 9.0)
    return machine


@pytest.mark.parametrize(("step", "verb", "begins"), BEGINS_AT.values(), ids=BEGINS_AT.keys())
def test_it_is_restarted_and_then_given_up(step: str, verb: Verb, begins: str) -> None:
    machine = at_step(step, verb)
    tries = max(1, KINDS[step].retries)
    for _ in range(tries):
        if step == "wait.job":
            machine, _ = advance(machine, JobTaken("r1"), 1.0)
        machine, actions = advance(machine, GIVES_UP, 2.0)
        assert [action.step.name for action in actions] == [begins]
        assert advance(machine, GIVES_UP, 3.0) == (machine, []), "its last line says it once more"
        machine = again(machine, step)
    machine, actions = advance(machine, GIVES_UP, 10.0)
    assert actions == []
    assert machine.failure
    assert machine.failure.reason == f"its kernel panicked: {TEXT}"
    assert "kernel.args" in machine.failure.hint


@pytest.mark.parametrize("step", sorted(set(VERBS[Verb.DEPLOY].steps) - PANICS_AT))
def test_what_does_not_wait_for_a_kernel_goes_on(step: str) -> None:
    machine = at_step(step)
    assert advance(machine, GIVES_UP, 2.0) == (machine, [])


def test_every_wait_for_what_a_kernel_does_is_meant() -> None:
    before = {Signal.DHCP, Signal.LOADER, Signal.SCRIPT, None}
    assert {name for name, kind in KINDS.items() if kind.signal not in before} == PANICS_AT


LINES = {
    TEXT: (Channel.CONSOLE, True),
    f"---[ end {TEXT[15:]} ]---": (Channel.CONSOLE, True),
    "Command line: panic=10 quiet": (Channel.CONSOLE, False),
    "a job says: Kernel panic - not syncing": (Channel.AGENT, False),
}


@pytest.mark.parametrize(("text", "said"), LINES.items(), ids=LINES.keys())
def test_how_a_kernel_says_so(text: str, said: tuple[Channel, bool]) -> None:
    assert panicked(TraceLine(0.0, said[0], "console.line", text)) is said[1]


async def test_a_panic_on_the_console_begins_the_boot_anew(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        begun: list[str] = []
        rack.during_job = lambda metal: begun.append(metal.name) or len(begun) > 1  # type: ignore[func-returns-value]
        await conductor.boot("node17", "debian-12")
        machine = await until(conductor, working)
        assert machine.run
        told = TraceLine(0.0, Channel.CONSOLE, "console.line", TEXT, machine=machine.id, run=machine.run.id)
        conductor.observe(replace(told, run="of-another-run"))
        conductor.observe(told)
        machine = await settled(conductor)
        assert (machine.state, machine.failure, len(begun)) == (State.ACTIVE, None, 2)
        assert machine.run
        assert [line.note for line in machine.run.journal if line.outcome == "retried"] == [
            f"its kernel panicked: {TEXT}"
        ]
