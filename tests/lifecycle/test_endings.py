"""Where a machine stands after its run: of a release above all, whose disk is nobody's until it is erased."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.errors import ConflictError
from provisioner.lifecycle.endings import gone
from provisioner.lifecycle.inputs import (
    Begin,
    Cancel,
    Done,
    Event,
    Failed,
    Idle,
    JobFailed,
    JobTaken,
    Resume,
    Seen,
    Tick,
)
from provisioner.lifecycle.plans import Signal, Verb
from provisioner.lifecycle.rest import hold, let_go
from provisioner.lifecycle.steps import advance
from provisioner.model.facts import Disk, Facts
from provisioner.model.machine import Machine, State
from tests.lifecycle.test_steps import READY, at_step, completing, play, step_of

ACTIVE = replace(READY, state=State.ACTIVE, bootenv="debian-12")
DAY = 86400.0
TAKEN, ERASED = JobTaken("r1"), Seen(Signal.JOB)
FAILS = JobFailed("r1", "the job ended with status 1: blkdiscard failed")
OFF = Done("r1", 8)
OFF_FAILS = Failed("r1", 8, "no answer", again=False)


SEEN = Facts(disks=(Disk("sda", 1, serial="S1"), Disk("sdb", 1, wwn="0x5", transport="sas"), Disk("sdc", 1)))
REPORTS: dict[str, tuple[Facts | None, Facts, list[str]]] = {
    "nothing was on record": (None, SEEN, []),
    "all are there, called otherwise": (SEEN, Facts(disks=tuple(replace(d, name="x") for d in SEEN.disks)), []),
    "more is known of one than at first": (SEEN, Facts(disks=(SEEN.disks[0], replace(SEEN.disks[1], serial="S2"))), []),
    "what can be told apart is missed": (SEEN, Facts(), ["sda", "sdb"]),
    "a stick that was there": (Facts(disks=(Disk("sdd", 1, serial="S4", transport="usb"),)), Facts(), []),
    "what a BMC counts": (replace(SEEN, source="redfish"), Facts(), []),
}


@pytest.mark.parametrize(("before", "after", "names"), REPORTS.values(), ids=REPORTS.keys())
def test_disks_that_are_gone(before: Facts | None, after: Facts, names: list[str]) -> None:
    assert [disk.name for disk in gone(before, after)] == names


def releasing(at: str = "wait.job", machine: Machine = ACTIVE) -> Machine:
    return at_step(at, Verb.RELEASE, machine)


def later(machine: Machine, *events: Event) -> Machine:
    return play(machine, *events, now=DAY)[0]


RELEASES: dict[str, tuple[Machine, tuple[Event, ...], State, str]] = {
    "cancelled before its agent was heard": (releasing("wait.dhcp"), (Cancel(),), State.ACTIVE, "debian-12"),
    "cancelled before its job was fetched": (releasing(), (Cancel(),), State.ACTIVE, "debian-12"),
    "no agent fetched its job in time": (releasing(), (Tick(),), State.ACTIVE, "debian-12"),
    "cancelled while it erased": (releasing(), (TAKEN, Cancel(), OFF), State.QUARANTINED, "debian-12"),
    "its erase failed": (releasing(), (TAKEN, FAILS), State.QUARANTINED, "debian-12"),
    "its erase did not end in time": (releasing(), (TAKEN, Tick()), State.QUARANTINED, "debian-12"),
    "cancelled when its erase was to begin anew": (
        releasing(), (TAKEN, Idle("r1"), Cancel()), State.QUARANTINED, "debian-12"),
    "erased, but it could not be switched off": (releasing(), (TAKEN, ERASED, OFF_FAILS), State.READY, ""),
    "erased": (releasing(), (TAKEN, ERASED, completing(releasing("finalize.off"))), State.READY, ""),
    "a ready machine may hold something, too": (
        releasing(machine=READY), (TAKEN, FAILS), State.QUARANTINED, ""),
    "a claim on it stays before the erase": (
        releasing(machine=replace(READY, state=State.RESERVED)), (Cancel(),), State.RESERVED, ""),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "events", "state", "bootenv"), RELEASES.values(), ids=RELEASES.keys())
def test_a_release_leaves_a_machine_erased_or_as_it_was_or_kept_back(
    machine: Machine, events: tuple[Event, ...], state: State, bootenv: str
) -> None:
    after = later(machine, *events)
    assert (after.state, after.bootenv) == (state, bootenv)


def test_a_half_erased_machine_says_why_and_goes_back_to_where_it_came_from_when_it_is_let_go() -> None:
    kept = later(releasing(), TAKEN, FAILS)
    assert kept.hold
    assert kept.hold.reason == "its disks may be half erased: the job ended with status 1: blkdiscard failed"
    with pytest.raises(ConflictError, match="it cannot boot its disk in that state"):
        advance(kept, Begin("r2", Verb.LOCAL, ""), DAY)
    free = let_go(kept, DAY)
    assert (free.state, free.bootenv, free.hold) == (State.ACTIVE, "debian-12", None)
    assert step_of(advance(free, Begin("r2", Verb.RELEASE, "discovery", "erase"), DAY)[0]) == "power.off"


def test_its_release_can_be_resumed_and_ends_ready() -> None:
    machine = later(releasing(), TAKEN, FAILS, Resume())
    assert (machine.state, machine.hold, step_of(machine)) == (State.RELEASING, None, "power.off")
    assert later(machine, Cancel()).state is State.QUARANTINED, "what was erased before is still half erased"
    while machine.state is State.RELEASING:
        machine = later(machine, completing(machine))
    assert (machine.state, machine.bootenv, machine.hold) == (State.READY, "", None)


def test_a_hold_of_an_operators_own_is_not_ended_by_resuming() -> None:
    kept = later(releasing(), TAKEN, FAILS)
    with pytest.raises(ConflictError, match="not what it came from"):
        advance(hold(kept, State.QUARANTINED, "evidence", 2 * DAY), Resume(), 3 * DAY)
