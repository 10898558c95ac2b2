"""What an operator can say of a machine that rests: hold it, let it go, adopt it, retire it, how it boots. No I/O.

Each returns the machine as it is then, or raises `ConflictError` where the state does not allow it.
"""

from __future__ import annotations

from dataclasses import replace

from provisioner.errors import ConflictError
from provisioner.model.bmc import BmcAddress, Power
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import MOVING, Hold, Machine, State

HELD = frozenset({State.MAINTENANCE, State.QUARANTINED})
IDLE = frozenset({State.DISCOVERED, State.ENROLLED, State.READY})
IN_USE = frozenset({State.ACTIVE, State.RESERVED})
LEADS_OUT = {
    State.RESCUE: "unrescue",
    State.MAINTENANCE: "let-go",
    State.QUARANTINED: "let-go",
    State.RETIRED: "unretire",
}
"""The command that leads out of a state in which little can be begun."""


def in_use(machine: Machine) -> bool:
    """Say whether somebody's system is on a machine's disk: now, or as soon as its hold or its run is over."""
    states, held = {machine.state}, machine.hold
    while held is not None:
        states.add(held.return_to)
        held = held.within
    if machine.run is not None and machine.run.step is not None:
        states.add(machine.run.return_to)
    return bool(states & IN_USE)


def use_of(machine: Machine) -> str:
    """Name what somebody has on a machine's disk; empty where it is not in use."""
    return (machine.bootenv or machine.state) if in_use(machine) else ""


def way_out(machine: Machine) -> str:
    """Name the command that leads out of a machine's state, where little can be begun in that: a hint, or nothing."""
    verb = LEADS_OUT.get(machine.state)
    return f"`provisionctl {verb} {machine.name}` first" if verb else ""


def hold(machine: Machine, state: State, reason: str, now: float) -> Machine:
    """Keep a machine back, in maintenance or quarantine: nothing is started on it until it is let go."""
    _not_moving(machine, "be held")
    if machine.state is State.RETIRED:
        raise ConflictError(f"{machine.name} is retired: there is nothing to hold")
    if machine.state is State.RESCUE:
        raise ConflictError(f"{machine.name} is rescue: nothing is started on it as it is", hint=way_out(machine))
    back = machine.hold.return_to if machine.state in HELD and machine.hold else machine.state
    return _changed(machine, state, now, Hold(reason, back, now))


def let_go(machine: Machine, now: float) -> Machine:
    """Let a machine go to where it came from; installs that failed are forgiven."""
    if machine.state not in HELD:
        raise ConflictError(f"{machine.name} is {machine.state}: it is not held")
    back = machine.hold.return_to if machine.hold else State.READY
    return replace(_changed(machine, back, now, None), failed_runs=0)


def adopt(machine: Machine, bootenv: str, now: float) -> Machine:
    """Put on record that a machine already runs something: from now on it boots its disk, and is never installed over
    without being asked for.
    """
    _not_moving(machine, "be adopted")
    if machine.state not in IDLE:
        text = f"{machine.name} is {machine.state}: only a machine that is not in use can be adopted"
        raise ConflictError(text, hint=way_out(machine))
    return replace(_changed(machine, State.ACTIVE, now, None), bootenv=bootenv, failure=None)


def boot_by(machine: Machine, way: str, now: float) -> Machine:
    """Say how a machine boots from now on: over which network boot, or by a CD of its own."""
    _not_moving(machine, "be told how it boots")
    return replace(_changed(machine, machine.state, now, machine.hold), boot_via=way)


def found(machine: Machine, power: Power) -> Machine:
    """Put on record whether a machine is on, as was read by the way; a run that is under way knows better."""
    moving = machine.run is not None and machine.run.step is not None
    return machine if moving else replace(machine, power=power)


def retire(machine: Machine, now: float) -> Machine:
    """Take a machine out of use for good. Its record stays as a tombstone, so that it is known if it comes back."""
    _not_moving(machine, "be retired")
    check_erased(machine)
    if machine.state not in IDLE | HELD:
        text = f"{machine.name} is {machine.state}: it cannot be retired in that state"
        raise ConflictError(text, hint=way_out(machine))
    return replace(_changed(machine, State.RETIRED, now, None), bootenv="", failure=None)


def unretire(machine: Machine, now: float) -> Machine:
    """Take a retired machine into use again: it has to be discovered anew."""
    if machine.state is not State.RETIRED:
        raise ConflictError(f"{machine.name} is {machine.state}: it is not retired")
    return _changed(machine, State.ENROLLED, now, None)


def enrolled(machine: Machine, request: EnrolRequest, bmc: BmcAddress | None, now: float) -> Machine:
    """Give a machine what an operator says of it; one that discovery found before is ready with its BMC known."""
    found = machine.facts is not None and machine.state is State.DISCOVERED and bmc is not None
    return replace(
        machine,
        name=request.name,
        state=State.READY if found else machine.state,
        bmc=bmc,
        params=dict(request.params),
        tags=request.tags,
        boot_via=request.boot_via or machine.boot_via,
        changed=now,
    )


def taken(request: EnrolRequest) -> ConflictError:
    """Say that there is a machine of this name already, and what was meant where that is it."""
    way = f"`provisionctl bmc add {request.name} URL` gives it its BMC, " if request.bmc is not None else ""
    return ConflictError(
        f"there is a machine {request.name!r} already", hint=f"{way}`provisionctl forget {request.name}` removes it"
    )


def check_generation(machine: Machine, generation: int | None) -> None:
    """Raise `ConflictError` where somebody decided on another generation of a machine than this."""
    if generation is not None and generation != machine.generation:
        raise ConflictError(
            f"{machine.name} has changed: its generation is {machine.generation}, not {generation}",
            hint="look again, then repeat",
        )


def check_use(was: Machine, machine: Machine) -> None:
    """Raise `ConflictError` where somebody has taken a machine into use since it was looked at."""
    used = use_of(machine)
    if used and used != use_of(was):
        taken = f"{machine.name} was taken into use meanwhile ({used}): nothing was touched"
        raise ConflictError(taken, hint="look again, then repeat")


def check_idle(machine: Machine) -> None:
    """Raise `ConflictError` where a run is under way."""
    if machine.run is not None and machine.run.step is not None:
        raise ConflictError(f"{machine.name} is {machine.state}", hint=f"`provisionctl cancel {machine.name}` first")


def check_erased(machine: Machine, otherwise: str = "") -> None:
    """Raise `ConflictError` where a machine's disks were not erased since it was in use; `otherwise` is another way."""
    if in_use(machine) or _may_be_half_erased(machine):
        untouched = f"{machine.name} is {machine.state}: its disks were not erased since it was in use"
        raise ConflictError(untouched, hint=_release_first(machine) + otherwise)


def _release_first(machine: Machine) -> str:
    release = f"`provisionctl release {machine.name}`"
    out = way_out(machine)
    return f"{out}, then {release}" if out else f"{release} first"


def _may_be_half_erased(machine: Machine) -> bool:
    """Say whether a machine is kept back whose last run was a release that stopped in its erase."""
    return machine.state in HELD and machine.failure is not None and machine.failure.return_to is State.QUARANTINED


def _not_moving(machine: Machine, what: str) -> None:
    if machine.state in MOVING:
        hint = f"wait for it, or `provisionctl cancel {machine.name}`"
        raise ConflictError(f"{machine.name} is {machine.state}: it cannot {what} now", hint=hint)


def _changed(machine: Machine, state: State, now: float, held: Hold | None) -> Machine:
    return replace(machine, state=state, hold=held, generation=machine.generation + 1, changed=now)
