"""Machines at rest: held, let go, adopted, retired; from every state, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.errors import ConflictError
from provisioner.lifecycle import rest
from provisioner.model.machine import MOVING, Failure, Hold, Machine, Phase, Run, State, Step

NODE = Machine("m1", "node17", State.READY, bootenv="debian-12", failed_runs=3)
S = State
LOOK = Step("wait.facts", Phase.FETCH, 60.0)

ALLOWED: dict[str, tuple[frozenset[State], State]] = {
    "hold": (frozenset(set(S) - MOVING - {S.RETIRED, S.RESCUE}), S.MAINTENANCE),
    "adopt": (frozenset({S.DISCOVERED, S.ENROLLED, S.READY}), S.ACTIVE),
    "retire": (frozenset({S.DISCOVERED, S.ENROLLED, S.READY, S.MAINTENANCE, S.QUARANTINED}), S.RETIRED),
    "unretire": (frozenset({S.RETIRED}), S.ENROLLED),
}


HINTS: dict[str, tuple[str, State, str]] = {
    "a rescued machine is not retired": ("retire", S.RESCUE, "`provisionctl unrescue node17` first"),
    "nor adopted": ("adopt", S.RESCUE, "`provisionctl unrescue node17` first"),
    "nor held": ("hold", S.RESCUE, "`provisionctl unrescue node17` first"),
    "a held one is not adopted": ("adopt", S.QUARANTINED, "`provisionctl let-go node17` first"),
    "a retired one is not": ("adopt", S.RETIRED, "`provisionctl unretire node17` first"),
    "one in use is not retired": ("retire", S.ACTIVE, "`provisionctl release node17` first"),
    "one of a provider's is not at all": ("retire", S.EXTERNAL, ""),
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


@pytest.mark.parametrize(("name", "state", "hint"), HINTS.values(), ids=HINTS.keys())
def test_the_way_out_is_told(name: str, state: State, hint: str) -> None:
    with pytest.raises(ConflictError) as refused:
        call(name, replace(NODE, state=state))
    assert refused.value.hint == hint


def test_let_go_leads_back_and_forgives() -> None:
    held = rest.hold(replace(NODE, state=S.ACTIVE), S.MAINTENANCE, "new fan", 5.0)
    assert held.hold
    assert (held.hold.reason, held.hold.return_to) == ("new fan", S.ACTIVE)
    again = rest.hold(held, S.QUARANTINED, "smokes", 6.0)
    back = rest.let_go(again, 7.0)
    assert (back.state, back.hold, back.failed_runs) == (S.ACTIVE, None, 0)
    with pytest.raises(ConflictError, match="not held"):
        rest.let_go(back, 8.0)


@pytest.mark.parametrize("state", sorted(set(S) - MOVING))
def test_how_a_machine_boots_is_said_while_it_rests(state: State) -> None:
    held = Hold("new fan", S.READY, 1.0) if state in (S.MAINTENANCE, S.QUARANTINED) else None
    before = replace(NODE, state=state, hold=held)
    assert rest.boot_by(before, "http", 5.0) == replace(before, boot_via="http", generation=2, changed=5.0)


@pytest.mark.parametrize("state", sorted(MOVING))
def test_how_a_machine_boots_stays_while_it_moves(state: State) -> None:
    with pytest.raises(ConflictError, match=f"node17 is {state}: it cannot be told how it boots now"):
        rest.boot_by(replace(NODE, state=state), "http", 5.0)


HALF = Failure("cancelled by the operator", "install", 5.0, S.QUARANTINED)
NOT_ERASED: dict[str, Machine] = {
    "held while it was active": rest.hold(replace(NODE, state=S.ACTIVE), S.MAINTENANCE, "new fan", 5.0),
    "held twice": rest.hold(
        rest.hold(replace(NODE, state=S.RESERVED), S.MAINTENANCE, "new fan", 5.0), S.QUARANTINED, "smokes", 6.0
    ),
    "rescued while it was active": replace(NODE, state=S.RESCUE, hold=Hold("", S.ACTIVE, 5.0)),
    "half erased": replace(NODE, state=S.QUARANTINED, hold=Hold("half erased", S.READY, 5.0), failure=HALF),
    "half erased, and held since": rest.hold(
        replace(NODE, state=S.QUARANTINED, hold=Hold("half erased", S.READY, 5.0), failure=HALF),
        S.MAINTENANCE,
        "x",
        6.0,
    ),
}


@pytest.mark.parametrize("machine", NOT_ERASED.values(), ids=NOT_ERASED.keys())
def test_what_was_not_erased_is_not_retired(machine: Machine) -> None:
    with pytest.raises(ConflictError, match="were not erased since it was in use") as refused:
        rest.retire(machine, 7.0)
    out = "unrescue" if machine.state is S.RESCUE else "let-go"
    assert refused.value.hint == f"`provisionctl {out} node17` first, then `provisionctl release node17`"


USED: dict[str, tuple[Machine, bool]] = {
    "ready": (NODE, False),
    "active": (replace(NODE, state=S.ACTIVE), True),
    "reserved": (replace(NODE, state=S.RESERVED), True),
    "held while ready": (rest.hold(NODE, S.MAINTENANCE, "new fan", 5.0), False),
    "held while active": (NOT_ERASED["held while it was active"], True),
    "rescued from its hold": (
        replace(NODE, state=S.RESCUE, hold=Hold("", S.MAINTENANCE, 6.0, Hold("", S.ACTIVE, 5.0))),
        True,
    ),
    "looked at while active": (
        replace(NODE, state=S.INSPECTING, run=Run("r1", "inspect", "", (LOOK,), return_to=S.ACTIVE)),
        True,
    ),
    "was looked at while active": (
        replace(NODE, run=Run("r1", "inspect", "", (LOOK,), outcome="done", return_to=S.ACTIVE)),
        False,
    ),
}


@pytest.mark.parametrize(("machine", "used"), USED.values(), ids=USED.keys())
def test_in_use(machine: Machine, used: bool) -> None:
    assert rest.in_use(machine) is used


def test_what_is_adopted_runs_what_was_said() -> None:
    assert rest.adopt(NODE, "ubuntu-22.04", 5.0).bootenv == "ubuntu-22.04"
