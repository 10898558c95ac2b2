"""Machines at rest: held, let go, adopted, retired; from every state, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.errors import ConflictError
from provisioner.lifecycle import rest
from provisioner.model.machine import MOVING, Machine, State

NODE = Machine("m1", "node17", State.READY, bootenv="debian-12", failed_runs=3)
S = State

ALLOWED: dict[str, tuple[frozenset[State], State]] = {
    "hold": (frozenset(set(S) - MOVING - {S.RETIRED, S.RESCUE}), S.MAINTENANCE),
    "adopt": (frozenset({S.DISCOVERED, S.ENROLLED, S.READY}), S.ACTIVE),
    "retire": (frozenset({S.DISCOVERED, S.ENROLLED, S.READY, S.MAINTENANCE, S.QUARANTINED}), S.RETIRED),
    "unretire": (frozenset({S.RETIRED}), S.ENROLLED),
}


def call(name: str, machine: Machine) -> Machine:
    match name:
        case "hold":
            return rest.hold(machine, S.MAINTENANCE, "new fan", 5.0)
        case "adopt":
            return rest.adopt(machine, "ubuntu-22.04", 5.0)
        case "retire":
            return rest.retire(machine, 5.0)
    return rest.unretire(machine, 5.0)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("name", ALLOWED)
def test_from_every_state(name: str, state: State) -> None:
    start, end = ALLOWED[name]
    machine = replace(NODE, state=state)
    if state not in start:
        with pytest.raises(ConflictError, match=f"node17 is {state}"):
            call(name, machine)
        return
    after = call(name, machine)
    assert (after.state, after.generation, after.changed) == (end, 2, 5.0)


def test_let_go_leads_back_and_forgives() -> None:
    held = rest.hold(replace(NODE, state=S.ACTIVE), S.MAINTENANCE, "new fan", 5.0)
    assert held.hold
    assert (held.hold.reason, held.hold.return_to) == ("new fan", S.ACTIVE)
    again = rest.hold(held, S.QUARANTINED, "smokes", 6.0)
    back = rest.let_go(again, 7.0)
    assert (back.state, back.hold, back.failed_runs) == (S.ACTIVE, None, 0)
    with pytest.raises(ConflictError, match="not held"):
        rest.let_go(back, 8.0)


def test_what_is_adopted_runs_what_was_said() -> None:
    assert rest.adopt(NODE, "ubuntu-22.04", 5.0).bootenv == "ubuntu-22.04"
