"""Rollouts: what each event makes of one, as tables; and what may never happen, as properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import ConfigError, ConflictError
from provisioner.lifecycle.fleet import (
    UNDER_WAY,
    Begun,
    Ended,
    Event,
    LeftOut,
    Order,
    Refused,
    Rollout,
    Stage,
    Status,
    Stopped,
    advance,
    plan,
    taken,
)
from provisioner.model.machine import Hold, Machine, State

LETTER = {
    Stage.WAITING: "w", Stage.STARTING: "s", Stage.RUNNING: "r",
    Stage.DONE: "d", Stage.FAILED: "f", Stage.SKIPPED: "x",
}  # fmt: skip
GO = Order.CARRY_ON


def fleet(machines: int = 5, at_once: int = 2, max_failures: int = 1) -> Rollout:
    found = [Machine(f"m{at}", f"node{at:02}", State.READY) for at in range(machines)]
    return plan("R", "debian-12", "name=*", found, (at_once, max_failures))


def play(rollout: Rollout, *events: Event) -> tuple[Rollout, list[str]]:
    started: list[str] = []
    for event in events:
        rollout, started = advance(rollout, event, 1.0)
    return rollout, started


def stages(rollout: Rollout) -> str:
    return "".join(LETTER[member.stage] for member in rollout.members)


def run(at: int, reason: str = "") -> tuple[Event, Event]:
    return Begun(f"m{at}", f"r{at}"), Ended(f"m{at}", f"r{at}", reason)


HELD = Hold("new fan", State.ACTIVE, 5.0)
ACTIVE = Machine("m1", "node01", State.ACTIVE, bootenv="debian-12")
TAKEN: dict[str, tuple[Machine, Machine, str]] = {
    "free as it was": (replace(ACTIVE, state=State.READY), replace(ACTIVE, state=State.READY), ""),
    "given back since": (ACTIVE, replace(ACTIVE, state=State.READY), ""),
    "in use as it was": (ACTIVE, replace(ACTIVE, generation=9), ""),
    "held as it was": (replace(ACTIVE, state=State.MAINTENANCE, hold=HELD), ACTIVE, ""),
    "in use since": (replace(ACTIVE, state=State.READY), ACTIVE, "is active by now (debian-12); it was not in use"),
    "with another system since": (ACTIVE, replace(ACTIVE, bootenv="theirs"), "(theirs); it had debian-12"),
    "reserved since": (replace(ACTIVE, state=State.READY), Machine("m1", "node01", State.RESERVED), "is reserved"),
    "held, and in use since": (
        replace(ACTIVE, state=State.READY),
        replace(ACTIVE, state=State.MAINTENANCE, hold=HELD),
        "is maintenance by now (debian-12)",
    ),
}


@pytest.mark.parametrize(("chosen", "now", "said"), TAKEN.values(), ids=TAKEN.keys())
def test_a_machine_that_was_taken_into_use_is_left_out(chosen: Machine, now: Machine, said: str) -> None:
    rollout = plan("R", "debian-13", "name=*", [chosen], (1, 0))
    why = taken(rollout.members[0], now)
    assert (bool(why), said in why) == (bool(said), True)


def test_a_rollout_says_how_many_were_left_out() -> None:
    rollout, _ = play(fleet(2), GO, *run(0), LeftOut("m1", "node01 is active by now"))
    assert (stages(rollout), rollout.status) == ("dx", Status.DONE)
    assert rollout.reason == "1 of 2 machines were left out"
    assert rollout.members[1].reason == "node01 is active by now"


CASES: dict[str, tuple[tuple[Event, ...], str, list[str], Status]] = {
    "the first batch begins": ((GO,), "sswww", ["m0", "m1"], Status.RUNNING),
    "what was begun does not make room": ((GO, Begun("m0", "r0")), "rswww", [], Status.RUNNING),
    "what has ended does": ((GO, *run(0)), "dssww", ["m2"], Status.RUNNING),
    "a failure that is allowed does, too": ((GO, *run(0, "no")), "fssww", ["m2"], Status.RUNNING),
    "one that is left out makes room": ((GO, LeftOut("m0", "in use")), "xssww", ["m2"], Status.RUNNING),
    "so does a refusal": ((GO, Refused("m0", "no BMC")), "fssww", ["m2"], Status.RUNNING),
    "one failure too many pauses it": ((GO, *run(0, "no"), *run(1, "no")), "ffsww", [], Status.PAUSED),
    "and what is under way goes on": ((GO, *run(0, "no"), *run(1, "no"), *run(2)), "ffdww", [], Status.PAUSED),
    "until it is resumed: failures are forgiven": (
        (GO, *run(0, "no"), *run(1, "no"), *run(2), Order.RESUME), "ffdss", ["m3", "m4"], Status.RUNNING),
    "paused by hand": ((GO, Order.PAUSE, *run(0)), "dswww", [], Status.PAUSED),
    "and resumed": ((GO, Order.PAUSE, *run(0), Order.RESUME), "dssww", ["m2"], Status.RUNNING),
    "aborted: what waits is left out, what runs is seen to its end": (
        (GO, Order.ABORT, Begun("m0", "r0")), "rsxxx", [], Status.ABORTED),
    "one that was looked at meanwhile is left out with them": (
        (GO, Begun("m0", "r0"), Order.ABORT, Stopped("m1")), "rxxxx", [], Status.ABORTED),
    "paused: it waits for its turn": ((GO, Order.PAUSE, Stopped("m0")), "wswww", [], Status.PAUSED),
    "which is the next one": ((GO, Order.PAUSE, Stopped("m0"), Order.RESUME), "sswww", ["m0"], Status.RUNNING),
    "and comes at once where it was resumed meanwhile": (
        (GO, Order.PAUSE, Order.RESUME, Stopped("m0")), "sswww", ["m0"], Status.RUNNING),
    "too many failures with all others looked at": (
        (GO, *run(0), *run(1), *run(2), Refused("m3", "no"), Refused("m4", "no")), "dddff", [], Status.FAILED),
    "what runs is not stopped": ((GO, Begun("m0", "r0"), Order.PAUSE, Stopped("m0")), "rswww", [], Status.PAUSED),
    "the end of all": (
        (GO, *run(0), *run(1), *run(2), *run(3), *run(4)), "ddddd", [], Status.DONE),
    "too many failures at the very end": (
        (GO, *run(0), *run(1), *run(2), *run(3, "no"), *run(4, "no")), "dddff", [], Status.FAILED),
    "as many as may": ((GO, *run(0), *run(1), *run(2), *run(3), *run(4, "no")), "ddddf", [], Status.DONE),
    "too many, some of which were forgiven": (
        (GO, *run(0, "no"), *run(1, "no"), *run(2), Order.RESUME, *run(3), *run(4, "no")), "ffddf", [], Status.DONE),
    "the end of another run is not listened to": (
        (GO, Begun("m0", "r0"), Ended("m0", "r9")), "rswww", [], Status.RUNNING),
    "nor an end before the beginning": ((GO, Ended("m0", "r0")), "sswww", [], Status.RUNNING),
    "nor what a machine does that is none of its": ((GO, *run(9)), "sswww", [], Status.RUNNING),
    "a daemon that starts again begins once more what it may have begun": (
        (GO, Begun("m0", "r0"), GO), "rswww", ["m1"], Status.RUNNING),
}  # fmt: skip


@pytest.mark.parametrize(("events", "where", "started", "status"), CASES.values(), ids=CASES.keys())
def test_advance(events: tuple[Event, ...], where: str, started: list[str], status: Status) -> None:
    rollout, begun = play(fleet(), *events)
    assert (stages(rollout), begun, rollout.status) == (where, started, status)
    assert rollout.over == (not rollout.count(Stage.WAITING, *UNDER_WAY))


def test_why_it_is_paused_and_why_a_machine_failed_is_kept() -> None:
    rollout, _ = play(fleet(), GO, *run(0, "disk too small"), Refused("m1", "no BMC"))
    assert rollout.reason == "2 machines failed, 1 may"
    assert [member.reason for member in rollout.members[:2]] == ["disk too small", "no BMC"]


NOT_NOW = {
    "pause what is paused": ((Order.PAUSE, Order.PAUSE), "paused: it cannot pause"),
    "resume what runs": ((Order.RESUME,), "running: it cannot resume"),
    "resume what was aborted": ((Order.ABORT, Order.RESUME), "aborted: it cannot resume"),
    "abort what is done": ((*run(0), *run(1), *run(2), *run(3), *run(4), Order.ABORT), "done: it cannot abort"),
}


@pytest.mark.parametrize(("events", "said"), NOT_NOW.values(), ids=NOT_NOW.keys())
def test_orders_that_do_not_fit(events: tuple[Event, ...], said: str) -> None:
    with pytest.raises(ConflictError, match=said):
        play(fleet(), GO, *events)


def test_limits_that_make_no_sense_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        fleet(0, 0, -1)
    assert [fault.partition(":")[0] for fault in refused.value.faults] == ["at_once", "max_failures", "select"]


MACHINE = st.integers(0, 6).map(lambda at: f"m{at}")
EVENTS = st.one_of(
    st.builds(Begun, MACHINE, st.just("r")),
    st.builds(Refused, MACHINE, st.just("no")),
    st.builds(Stopped, MACHINE),
    st.builds(Ended, MACHINE, st.just("r"), st.sampled_from(["", "no"])),
    st.sampled_from(Order),
)


@given(st.integers(1, 7), st.integers(1, 4), st.integers(0, 3), st.lists(EVENTS, max_size=60))
def test_whatever_happens(machines: int, at_once: int, max_failures: int, story: list[Event]) -> None:
    rollout, begun = fleet(machines, at_once, max_failures), []
    for event in story:
        before = rollout
        try:
            rollout, started = advance(rollout, event, 1.0)
        except ConflictError:
            continue
        if isinstance(event, Stopped) and (member := before.member(event.machine)) and member.stage is Stage.STARTING:
            begun.remove(event.machine)  # it was not
        if event is not Order.CARRY_ON:
            begun += started
        else:
            begun += [m for m in started if before.members[int(m[1:])].stage is Stage.WAITING]
        assert len(begun) == len(set(begun)), "a machine is begun once"
        assert rollout.count(*UNDER_WAY) <= at_once
        failed = rollout.count(Stage.FAILED) - rollout.forgiven
        assert failed <= max_failures or rollout.status is not Status.RUNNING or not rollout.count(Stage.WAITING)
        assert rollout.over == (not rollout.count(Stage.WAITING, *UNDER_WAY))
        if rollout.status in (Status.PAUSED, Status.ABORTED, Status.DONE, Status.FAILED):
            assert before.count(*UNDER_WAY) >= rollout.count(*UNDER_WAY), "nothing is begun any more"
