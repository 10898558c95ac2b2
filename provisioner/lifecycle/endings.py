"""Where a machine stands once its run is over: done, failed or cancelled. No I/O.

Nobody is given a disk that was to be erased and is not: a release that stopped after its erase may have begun keeps the
machine back, and one that stopped before that changed nothing.
"""

from __future__ import annotations

from dataclasses import replace

from provisioner.lifecycle.plans import CANCEL_STEP, JOB_STEP, KEEPS_DISK, Verb, may_have_begun_its_job
from provisioner.model.facts import Disk, Facts
from provisioner.model.machine import Failure, Hold, JournalLine, Machine, Run, State

CANCELLED = "cancelled by the operator"
GONE_HINT = (
    "put it back, or `provisionctl release {}` again: it is off the record now, and what was on it is yours to see to"
)
SWITCH_OFF = "switch it off by hand, or by `provisionctl power {} off` once its BMC answers"


def ended(machine: Machine, run: Run, now: float) -> Machine:
    """Say where a run leads that came to its end."""
    machine = replace(machine, run=run, changed=now)
    back = run.return_to
    match run.verb:
        case Verb.DEPLOY | Verb.INSTALL:
            return replace(machine, state=State.ACTIVE, bootenv=run.bootenv, failed_runs=0)
        case Verb.INSPECT:
            return replace(machine, state=with_facts(back, machine))
        case Verb.LIVE | Verb.LOCAL:
            return replace(machine, state=back)
        case Verb.RESCUE:
            return replace(machine, state=State.RESCUE, hold=Hold("in rescue", back, now, machine.hold))
        case Verb.UNRESCUE:
            held = machine.hold
            return replace(machine, state=held.return_to if held else State.READY, hold=held and held.within)
        case _:
            return replace(machine, state=State.READY, bootenv="", failed_runs=0)


def with_facts(state: State, machine: Machine) -> State:
    """Say where a machine stands once its hardware is known: ready, when there is a BMC to drive it with."""
    return State.READY if state in (State.DISCOVERED, State.ENROLLED) and machine.bmc is not None else state


def gone(before: Facts | None, after: Facts) -> list[Disk]:
    """List the disks on record that a new report lacks, of those that can be told apart; sticks come and go.

    A BMC lists disks as it counts them, whatever the system sees of them.
    """
    if before is None or before.source != after.source:
        return []
    there = {name for disk in after.disks for name in (disk.wwn, disk.serial) if name}
    known = [disk for disk in before.disks if (disk.wwn or disk.serial) and disk.transport != "usb"]
    return [disk for disk in known if not there.intersection((disk.wwn, disk.serial))]


def return_to(run: Run) -> State:
    """Say where a machine stands if its run stops at this point, before that is in the journal.

    A disk that may be half written is not `active` any more, and one that may be half erased is nobody's.
    """
    if run.verb == Verb.RELEASE and not _was_done(run, JOB_STEP):
        return State.QUARANTINED if may_have_begun_its_job(run) else run.return_to
    touched = run.verb not in KEEPS_DISK and (_was_done(run, "wait.facts") or _was_done(run, "wait.answer"))
    return State.READY if touched and run.return_to is State.ACTIVE else run.return_to


def _was_done(run: Run, step: str) -> bool:
    return any((line.step, line.outcome) == (step, "done") for line in run.journal)


def stopped(machine: Machine, run: Run, failure: Failure) -> Machine:
    """Say what is left of a run that failed or was cancelled: the machine where `failure` says that it stands."""
    unerased = failure.return_to is State.QUARANTINED
    keeps = unerased or failure.return_to is State.ACTIVE or run.verb in KEEPS_DISK
    bootenv = machine.bootenv if keeps else ""
    machine = replace(machine, state=failure.return_to, bootenv=bootenv, failure=failure, run=run, changed=failure.at)
    if unerased:
        reason = f"its disks may be half erased: {failure.reason}"
        return replace(machine, hold=Hold(reason, run.return_to, failure.at))
    if run.verb not in (Verb.DEPLOY, Verb.INSTALL) or run.outcome != "failed":
        return machine
    machine = replace(machine, failed_runs=machine.failed_runs + 1)
    if not 0 < run.quarantine_after <= machine.failed_runs:
        return machine
    reason = f"{machine.failed_runs} installs in a row failed, the last: {failure.reason}"
    return replace(machine, state=State.QUARANTINED, hold=Hold(reason, failure.return_to, failure.at))


def cancelled(machine: Machine, run: Run, line: JournalLine, fault: Failure | None = None) -> Machine:
    """Say what is left of a run that an operator ended at the step of `line`, the last of its journal.

    `fault` is why the machine was not switched off although it may be writing to its disk.
    """
    at = run.at
    if run.steps[at].name == CANCEL_STEP:  # the plan is again as it was pinned
        at -= 1
        run = replace(run, steps=run.steps[: at + 1] + run.steps[at + 2 :], at=at)
    failure = Failure(CANCELLED, run.steps[at].phase, line.ended, return_to(run))
    run = replace(run, journal=(*run.journal, line), outcome="cancelled", ended=line.ended)
    if fault is not None:
        reason = f"{CANCELLED}, but not switched off: {fault.reason}. It may go on writing to its disk"
        failure = replace(failure, reason=reason, hint=SWITCH_OFF.format(machine.name), kind=fault.kind)
    return stopped(machine, run, failure)


def stands_where_it_stopped(machine: Machine) -> bool:
    """Say whether nobody has moved a machine, or kept it back for a reason of their own, since its run stopped."""
    failure = machine.failure
    if failure is None or machine.state is not failure.return_to:
        return False
    return machine.state is not State.QUARANTINED or (machine.hold is not None and machine.hold.at == failure.at)
