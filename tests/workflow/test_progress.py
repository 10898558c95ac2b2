"""What events make of a run: tries, handlers, barriers, leaders, orders, restarts; and long random walks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from provisioner.errors import ConflictError
from provisioner.model.workflow import FlowMember, FlowRun, FlowStatus, FlowStep, Stage, Then, Where
from provisioner.store.codec import Reader, encode
from provisioner.workflow.gates import waits
from provisioner.workflow.progress import (
    LOST_TRIES,
    MAY,
    UNKNOWN,
    Ended,
    Event,
    Forgotten,
    Lost,
    Order,
    Signal,
    Start,
    Taken,
    Tick,
    advance,
)
from tests.workflow.flows import NOW, run_of

SCRIPT = FlowStep("script", Where.DISCOVERY, provides=("a.b",), retries=1)
WIPE = FlowStep("wipe", Where.DISCOVERY, provides=("c.d",), destructive=True, once=True)
CALL = FlowStep("call", Where.DAEMON, provides=("e.f",), action="webhook", retries=1)
CYCLE = FlowStep("cycle", Where.BMC, provides=("g.h",), verb="power.cycle", once=True)
MEND = FlowStep("mend", Where.DAEMON, action="hold")
ALL = FlowStep("all", Where.DISCOVERY, provides=("i.j",), barrier=True)
ONE = FlowStep("one", Where.DAEMON, provides=("k.l",), action="webhook", leader=True)


def drive(run: FlowRun, *events: Event, now: float = NOW) -> FlowRun:
    for event in events:
        run, _ = advance(run, event, now)
    return run


def begun(*steps: FlowStep, machines: int = 1, **settings: object) -> FlowRun:
    return drive(run_of(*steps, machines=machines, **settings), Tick())


def end(run: FlowRun, name: str = "node1", ok: bool = True, note: str = "", now: float = NOW) -> FlowRun:
    member = run.member(name)
    assert member is not None
    return drive(run, Ended(member.machine, member.fence, ok, note), now=now)


def node(run: FlowRun, name: str = "node1") -> FlowMember:
    found = run.member(name)
    assert found is not None
    return found


def outcomes(run: FlowRun, name: str = "node1") -> list[tuple[str, str]]:
    return [(line.step, line.outcome) for line in node(run, name).journal]


def test_steps_one_after_the_other() -> None:
    run = begun(SCRIPT, CALL)
    assert (node(run).stage, node(run).next, node(run).fence) == (Stage.RUNNING, "script", 1)
    run, starts = advance(run, Ended("m1", 1, True, "fine"), NOW)
    assert starts == [Start("m1", 2)]  # ours to carry out; scripts are fetched
    run = end(run)
    assert (run.status, run.over, node(run).stage) == (FlowStatus.DONE, True, Stage.DONE)
    assert outcomes(run) == [("script", "done"), ("call", "done")]


def test_what_comes_of_a_try_that_is_over_changes_nothing() -> None:
    run = end(begun(SCRIPT, CALL))
    for event in (Ended("m1", 1, False), Taken("m1", 1, "x"), Lost("m1", 1, "x"), Ended("m9", 2, True)):
        assert drive(run, event) == run


def test_a_step_is_tried_again_after_a_pause_and_then_fails() -> None:
    run = end(begun(SCRIPT), ok=False, note="disk too hot")
    assert (node(run).stage, node(run).attempt, outcomes(run)) == (Stage.WAITING, 2, [("script", "retried")])
    assert waits(run, node(run), NOW) == "tries script again in 10 s (disk too hot)"
    assert drive(run, Tick(), now=NOW + 9) == run
    run = drive(run, Tick(), now=NOW + 10)
    assert (node(run).stage, node(run).fence) == (Stage.RUNNING, 2)
    run = end(run, ok=False, note="still", now=NOW + 11)
    assert (run.status, node(run).reason) == (FlowStatus.FAILED, "script: still")


def test_a_step_that_is_over_its_limit_counts_as_a_failed_try() -> None:
    run = drive(begun(SCRIPT), Tick(), now=NOW + 3600)
    assert node(run).journal[-1].note == "not done within 3600 s"


def test_the_whole_run_has_a_limit() -> None:
    run = drive(begun(SCRIPT, limit_s=7200.0, limit=NOW + 7200), Tick(), now=NOW + 7200)
    assert (run.status, node(run).reason) == (FlowStatus.FAILED, "the run took longer than 2.0 h")


def test_what_is_begun_once_is_not_tried_again() -> None:
    run = end(begun(WIPE), ok=False, note="I/O error")
    assert (run.status, outcomes(run)) == (FlowStatus.FAILED, [("wipe", "failed")])
    with pytest.raises(ConflictError, match="may be begun only once"):
        drive(run, Order.RESUME)
    skipped = drive(run, Order.SKIP)
    assert (skipped.status, outcomes(skipped)[-1]) == (FlowStatus.DONE, ("wipe", "skipped"))


def test_a_lost_script_is_given_again_but_not_one_that_is_begun_once() -> None:
    run = drive(begun(SCRIPT), Taken("m1", 1, "agent"), Lost("m1", 1, "it was restarted"))
    assert (node(run).stage, node(run).attempt, node(run).fence, node(run).taken) == (Stage.RUNNING, 1, 2, "")
    for fence in range(2, 2 + LOST_TRIES):
        run = drive(run, Lost("m1", fence, "it was restarted"), Tick(), now=NOW + 100 * fence)
    assert outcomes(run).count(("script", "lost")) == LOST_TRIES
    run = drive(begun(WIPE), Taken("m1", 1, "agent"), Lost("m1", 1, "it was restarted"))
    assert node(run).reason == f"wipe: it was restarted: {UNKNOWN}"


def test_a_script_is_taken_by_one() -> None:
    run = drive(begun(SCRIPT), Taken("m1", 1, "one"), Taken("m1", 1, "two"))
    assert node(run).taken == "one"


HANDLED: dict[Then, tuple[FlowStatus, list[tuple[str, str]]]] = {
    Then.FAIL: (FlowStatus.FAILED, [("x", "failed"), ("mend", "done")]),
    Then.GO_ON: (FlowStatus.DONE, [("x", "failed"), ("mend", "done"), ("x", "gone-on"), ("call", "done")]),
    Then.AGAIN: (FlowStatus.DONE, [("x", "failed"), ("mend", "done"), ("x", "done"), ("call", "done")]),
}


@pytest.mark.parametrize("then", Then)
def test_a_handler_stands_in_for_a_step_that_failed(then: Then) -> None:
    status, story = HANDLED[then]
    run = begun(replace(SCRIPT, name="x", retries=0, handler="mend", then=then, pause_s=0), CALL, MEND)
    run = end(run, ok=False, note="broke")
    assert (node(run).handling, node(run).reason) == ("mend", "x: broke")
    for _ in range(3):
        if not run.over:
            run = end(run)
    assert (run.status, outcomes(run)) == (status, story)


def test_a_handler_that_fails_too_and_one_that_has_mended_once() -> None:
    step = replace(SCRIPT, name="x", retries=0, handler="mend", then=Then.AGAIN, pause_s=0)
    run = end(end(begun(step, MEND), ok=False, note="broke"), ok=False, note="no")
    assert node(run).reason == "x: broke; its handler mend failed, too: no"
    run = end(end(end(begun(step, MEND), ok=False), ok=True), ok=False, note="broke again")
    assert (run.status, node(run).reason) == (FlowStatus.FAILED, "x: broke again")


def test_a_handler_that_is_begun_once_is_not_begun_again() -> None:
    wipe = replace(WIPE, provides=())
    step = replace(SCRIPT, name="x", retries=0, handler="wipe")
    run = end(end(begun(step, wipe), ok=False, note="broke"), note="wiped")
    assert (run.status, outcomes(run)) == (FlowStatus.FAILED, [("x", "failed"), ("wipe", "done")])
    run = end(drive(run, Order.RESUME), ok=False, note="again")
    told = "x: again; its handler wipe may be begun only once, and was"
    assert (run.status, node(run).reason, outcomes(run)[2:]) == (FlowStatus.FAILED, told, [("x", "failed")])
    first, other = replace(step, then=Then.GO_ON), replace(step, name="y", provides=("y.y",))
    run = end(end(end(begun(first, other, wipe), ok=False), ok=True), ok=False, note="no")
    assert node(run).reason == "y: no; its handler wipe may be begun only once, and was"


# machines that wait for each other


def test_a_leader_that_went_on_by_its_handler_has_led() -> None:
    make = replace(ONE, barrier=True, retries=0, handler="mend", then=Then.GO_ON)
    for after in ((), (ALL,)):
        run = begun(make, *after, MEND, machines=3)
        run = end(end(run, ok=False, note="boom"), note="mended")
        assert [outcomes(run, name) for name in ("node2", "node3")] == [[("one", "by-leader")]] * 2
        assert run.status is (FlowStatus.RUNNING if after else FlowStatus.DONE)
        assert {member.next for member in run.members} == ({"all"} if after else {""})


def test_a_barrier_opens_when_all_have_come() -> None:
    run = end(begun(SCRIPT, ALL, machines=3), "node1")
    assert waits(run, node(run), NOW) == "waits at the barrier before all for node2, node3"
    run = end(run, "node2")
    assert (node(run).stage, node(run, "node2").stage) == (Stage.WAITING, Stage.WAITING)
    run = end(run, "node3")
    assert {member.stage for member in run.members} == {Stage.RUNNING}


def test_a_barrier_stays_shut_when_too_many_failed() -> None:
    lone = replace(SCRIPT, retries=0)
    run = end(end(begun(lone, ALL, machines=2), "node1"), "node2", ok=False, note="hot")
    assert node(run).reason == "the barrier before all stays shut: 1 machines failed, 0 may (node2)"
    run = end(end(begun(lone, ALL, machines=2, max_failures=1), "node1"), "node2", ok=False)
    assert node(run).stage is Stage.RUNNING


def test_machines_without_the_step_are_not_waited_for() -> None:
    run = run_of(SCRIPT, ALL, machines=2)
    run = replace(run, members=(run.members[0], replace(run.members[1], plan=("script",), chosen=("",))))
    run = end(drive(run, Tick()), "node1")
    assert node(run).stage is Stage.RUNNING


def test_a_leader_does_it_for_all() -> None:
    run = begun(ONE, SCRIPT, machines=3)
    assert [member.stage for member in run.members] == [Stage.RUNNING, Stage.WAITING, Stage.WAITING]
    assert waits(run, node(run, "node2"), NOW) == "waits for its leader node1 to do one"
    run = end(run, "node1", note="told")
    assert outcomes(run, "node2") == [("one", "by-leader")]
    assert {member.next for member in run.members} == {"script"}


def test_a_leader_that_fails_fails_all_and_one_that_never_began_is_replaced() -> None:
    once = replace(ONE, retries=0)
    run = end(begun(once, machines=2), "node1", ok=False, note="refused")
    assert node(run, "node2").reason == "its leader node1 failed at one"
    lone = replace(SCRIPT, retries=0)
    run = begun(lone, once, machines=2)
    run = end(end(run, "node1", ok=False), "node2")
    assert (node(run, "node2").next, node(run, "node2").stage) == ("one", Stage.RUNNING)


def test_not_more_at_once() -> None:
    run = begun(SCRIPT, machines=4, at_once=2)
    assert run.count(Stage.RUNNING) == 2
    assert waits(run, node(run, "node3"), NOW) == "waits for a place to begin script"
    assert end(run, "node1").count(Stage.RUNNING) == 2


# orders


def test_pause_step_resume() -> None:
    run = drive(begun(SCRIPT, CALL, machines=2), Order.PAUSE)
    run = end(run, "node1")
    assert (node(run).next, node(run).stage) == ("call", Stage.WAITING)
    assert waits(run, node(run), NOW) == "the run is paused before call"
    run = drive(run, Order.STEP)
    assert (node(run).stage, run.status) == (Stage.RUNNING, FlowStatus.PAUSED)
    run = end(end(run, "node1"), "node2")
    assert (run.over, node(run, "node2").stage) == (False, Stage.WAITING)
    run = drive(run, Order.RESUME)
    assert node(run, "node2").stage is Stage.RUNNING
    run = drive(end(begun(SCRIPT, ALL, machines=2), "node1"), Order.PAUSE, Order.STEP, Order.RESUME, Order.PAUSE)
    assert [member.stage for member in end(run, "node2").members] == [Stage.WAITING] * 2


@pytest.mark.parametrize("order", [Order.RESUME, Order.SKIP])
def test_a_paused_run_does_not_come_nearer_to_its_limit(order: Order) -> None:
    run = drive(run_of(SCRIPT), Order.PAUSE, now=NOW + 400)
    late = NOW + 400 + 200_000
    run = drive(run, Tick(), Order.CARRY_ON, now=late)
    assert (run.status, run.over) == (FlowStatus.PAUSED, False)
    run = drive(run, order, now=late)
    assert (node(run).stage, run.limit) == (Stage.RUNNING, NOW + 86400 + 200_000)
    run = drive(run, Tick(), now=run.limit)
    assert "the run took longer than 24.0 h" in node(run).reason


def test_a_clock_that_was_set_gives_a_paused_run_no_more_than_its_limit() -> None:
    run = drive(drive(begun(SCRIPT), Order.PAUSE), Order.CARRY_ON, Order.RESUME, now=NOW - 86400)
    assert run.limit == NOW
    run = drive(drive(begun(SCRIPT), Order.PAUSE), Order.RESUME, now=NOW + 10 * 86400)
    assert run.limit == NOW + 11 * 86400


def test_abort_leaves_what_is_under_way_and_resume_takes_up_what_failed() -> None:
    run = drive(begun(SCRIPT, CALL, machines=2), Order.ABORT)
    assert (run.status, run.over) == (FlowStatus.ABORTED, True)
    assert node(run).reason == "script was under way; what it does is not stopped"
    run = end(begun(replace(SCRIPT, retries=0), CALL), ok=False)
    run = drive(run, Order.RESUME)
    assert (run.status, run.over, node(run).stage, node(run).next) == (
        FlowStatus.RUNNING,
        False,
        Stage.RUNNING,
        "script",
    )


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("status", FlowStatus)
def test_orders_are_taken_where_the_table_says(order: Order, status: FlowStatus) -> None:
    run = replace(run_of(SCRIPT), status=status)
    if status in MAY[order]:
        advance(run, order, NOW)
    else:
        with pytest.raises(ConflictError, match=f"is {status}: it cannot {order} from there"):
            advance(run, order, NOW)


def test_a_signal_is_kept_once() -> None:
    assert drive(begun(CALL), Signal("go"), Signal("go")).signals == ("go",)


def test_a_machine_that_is_forgotten() -> None:
    run = drive(begun(SCRIPT, machines=2), Forgotten("m1"))
    assert (node(run).reason, run.status) == ("the machine was forgotten", FlowStatus.RUNNING)


# restarts


def test_after_a_restart_ours_is_begun_again_and_scripts_go_on() -> None:
    for step, starts in ((CALL, [Start("m1", 1)]), (SCRIPT, [])):
        run = begun(step)
        after, again = advance(run, Order.CARRY_ON, NOW + 5)
        assert again == starts
        assert node(after).fence == 1


def test_after_a_restart_a_verb_that_is_done_once_is_not_begun_again() -> None:
    run, starts = advance(begun(CYCLE), Order.CARRY_ON, NOW)
    assert (starts, node(run).reason) == ([], f"cycle: {UNKNOWN}")


@pytest.mark.parametrize("jump", [-86400.0, 0.0, 86400.0])
def test_a_clock_that_was_set_ends_no_step_and_keeps_none(jump: float) -> None:
    run = drive(begun(SCRIPT), Order.CARRY_ON, now=NOW + jump)
    assert NOW + jump < node(run).deadline <= NOW + jump + SCRIPT.limit_s
    assert NOW + jump < run.limit <= NOW + jump + run.limit_s
    assert node(run).stage is Stage.RUNNING


# walks

STEPS = (
    replace(SCRIPT, pause_s=5),
    replace(CALL, handler="mend", then=Then.AGAIN),
    replace(ALL, retries=2),
    WIPE,
    replace(CYCLE, handler="mend", then=Then.GO_ON),
    replace(ONE, retries=2, barrier=True),
    MEND,
)
WALKS, WALK = 150, 150


def event(random: Random, run: FlowRun) -> Event:
    member = random.choice(run.members)
    stale = random.random() < 0.1
    fence = member.fence - stale
    kind = random.random()
    if kind < 0.55:
        return Ended(member.machine, fence, random.random() < 0.85, again=random.random() < 0.9)
    if kind < 0.65:
        return Taken(member.machine, fence, random.choice("ab"))
    if kind < 0.72:
        return Lost(member.machine, fence, "gone")
    if kind < 0.85:
        return Tick()
    return random.choice([*Order, Order.RESUME, Order.CARRY_ON, Order.SKIP])


@pytest.mark.unmeasured
@pytest.mark.parametrize("part", range(4))
def test_no_long_random_walk_breaks_a_rule(part: int) -> None:
    stages: Counter[Stage] = Counter()
    for seed in range(part * WALKS // 4, (part + 1) * WALKS // 4):
        random, now = Random(seed), NOW
        run = run_of(*STEPS, machines=3, max_failures=random.choice([0, 3]), at_once=random.choice([0, 2]))
        wiped: Counter[tuple[str, str]] = Counter()
        for _ in range(WALK):
            now += random.choice([0.0, 1.0, 20.0, 700.0])
            given = event(random, run)
            try:
                after, starts = advance(run, given, now)
            except ConflictError:
                continue
            hold(run, after, starts, wiped, now)
            run = Reader(FlowRun)(encode(after)) if random.random() < 0.1 else after
            assert run == after
        stages.update(member.stage for member in run.members)
    assert stages.keys() >= {Stage.DONE, Stage.FAILED}


def hold(before: FlowRun, after: FlowRun, starts: list[Start], wiped: Counter[tuple[str, str]], now: float) -> None:
    """Hold what any event may do."""
    for old, new in zip(before.members, after.members, strict=True):
        assert new.plan == old.plan, "the plan is pinned"
        assert new.fence >= old.fence
        assert len(new.journal) >= len(old.journal)
        step = after.step(new)
        if new.stage is Stage.RUNNING:
            assert step is not None
            assert new.deadline > 0, "nothing runs without a limit"
            if new.fence != old.fence and step.once:
                wiped[new.machine, step.name] += 1
                assert wiped[new.machine, step.name] == 1, f"{step.name} was begun twice"
            if step.barrier and new.fence != old.fence and not new.handling:
                for other in after.members:
                    assert other.over or other.at >= new.at, "a barrier opened before all had come"
    leading = [m.name for m in after.members if m.stage is Stage.RUNNING and m.next == "one"]
    assert len(leading) <= 1, "two leaders"
    for start in starts:
        member = next(m for m in after.members if m.machine == start.machine)
        assert member.fence == start.fence
        assert member.stage is Stage.RUNNING
    assert after.over or after.count(Stage.WAITING, Stage.RUNNING)
