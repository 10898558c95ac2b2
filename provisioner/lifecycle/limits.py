"""The time that runs have after nobody listened: a restart of the daemon, or a disk on which nothing could be kept."""

from __future__ import annotations

from dataclasses import replace

from provisioner.lifecycle.plans import UNHEARD_S, VERBS, Verb
from provisioner.lifecycle.steps import due_s
from provisioner.model.machine import Machine

GRACE_S = 60.0
"""What a step is given after a restart of the daemon, at the least: its signals could not be heard meanwhile."""


def delayed(machine: Machine, by_s: float) -> Machine:
    """Give a run the time back in which nothing of it could be written."""
    run = machine.run
    if run is None or run.step is None:
        return machine
    limit = run.limit + by_s if run.limit else run.limit
    return replace(machine, run=replace(run, deadline=run.deadline + by_s, limit=limit))


def resumed(machine: Machine, now: float) -> Machine:
    """Set a run's time limits anew after a restart: not over while nobody listened, not a day off if the clock was set.

    The whole run has the time that its steps to come may take. A network boot is soon begun anew: firmware gives up.
    """
    run = machine.run
    if run is None or run.step is None:
        return machine
    deadline = min(max(run.deadline, now + min(GRACE_S, run.step.timeout_s)), now + due_s(run.step))
    unheard = run.step.name in UNHEARD_S
    if unheard:
        deadline = min(deadline, now + UNHEARD_S[run.step.name])
    to_come = sum(due_s(step) for step in run.steps[run.at + 1 :])
    limit = min(max(run.limit, deadline + to_come), now + VERBS[Verb(run.verb)].limit_s)
    return replace(
        machine, seen=min(machine.seen, now), run=replace(run, deadline=deadline, limit=limit, unheard=unheard)
    )
