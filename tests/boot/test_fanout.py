"""Fan-out: the origin sends one copy where all goes well, and everybody ends with everything where it does not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.boot.fanout import (
    COMPLAINTS,
    ORDER_S,
    ORIGIN_AT_ONCE,
    PATIENCE_S,
    SILENT_S,
    SUSPICIOUS,
    UPLOADS,
    Done,
    Order,
    Outcome,
    Report,
    Swarm,
    Wait,
)

Answer = tuple[Order, ...] | Wait | Done | None
Fetch = Callable[[str, Order], Outcome]
ORIGIN = None


def url(name: str) -> str:
    return f"http://{name}/secret"


def swarm_of(count: int, *names: str) -> Swarm:
    swarm = Swarm(count)
    for name in names:
        assert swarm.join(name, url(name), "10.0.0.1", (), 0.0)
    return swarm


@dataclass
class Machine:
    """One that fetches as the discovery system does: what it was ordered, then a report of it."""

    name: str
    have: set[int] = field(default_factory=set)
    report: Report = field(default_factory=Report)
    done: bool = False


def run(swarm: Swarm, machines: list[Machine], fetch: Fetch, *, chance: random.Random, rounds: int = 2000) -> int:
    """Let them all fetch until they are done; say how many chunks came from the origin."""
    origin, now = 0, 0.0
    for _ in range(rounds):
        active = [machine for machine in machines if not machine.done]
        if not active:
            return origin
        now += 0.1
        for machine in chance.sample(active, len(active)):
            answer = swarm.next(machine.name, machine.report, now)
            machine.report = Report()
            if isinstance(answer, Done):
                machine.done = True
            elif isinstance(answer, tuple):
                outcomes = []
                for order in answer:
                    outcome = fetch(machine.name, order)
                    outcomes.append((outcome, order.index))
                    origin += order.source is ORIGIN
                    if outcome is Outcome.GOT:
                        machine.have.add(order.index)
                machine.report = Report(tuple(outcomes))
    raise AssertionError(f"not done: {[machine.name for machine in machines if not machine.done]}")


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 40), st.integers(1, 20), st.randoms(use_true_random=False))
def test_where_nothing_goes_wrong_the_origin_sends_one_copy(count: int, machines: int, chance: random.Random) -> None:
    all_of_them = [Machine(f"node{number}") for number in range(machines)]
    swarm = swarm_of(count, *(machine.name for machine in all_of_them))
    sent = run(swarm, all_of_them, lambda name, order: Outcome.GOT, chance=chance)
    assert all(machine.have == set(range(count)) for machine in all_of_them)
    assert sent == swarm.from_origin == count


@settings(max_examples=8, deadline=None)
@given(st.randoms(use_true_random=False), st.sets(st.integers(0, 15), max_size=8))
def test_neighbours_that_lie_or_die_keep_nobody_from_the_end(chance: random.Random, broken: set[int]) -> None:
    all_of_them = [Machine(f"node{number}") for number in range(16)]
    swarm = swarm_of(30, *(machine.name for machine in all_of_them))

    def fetch(name: str, order: Order) -> Outcome:
        if any(order.source == url(f"node{number}") for number in broken):
            return chance.choice([Outcome.BAD, Outcome.GONE, Outcome.LACKS])
        return Outcome.GOT

    sent = run(swarm, all_of_them, fetch, chance=chance)
    assert all(machine.have == set(range(30)) for machine in all_of_them)
    assert sent <= 30 * (1 + 2 * len(broken) + 1)


def test_the_origin_sends_few_chunks_at_once_and_none_twice() -> None:
    swarm = swarm_of(100, *(f"node{number}" for number in range(20)))
    orders = [swarm.next(f"node{number}", Report(), 1.0) for number in range(20)]
    given_out = [order for answer in orders if isinstance(answer, tuple) for order in answer]
    assert len(given_out) == ORIGIN_AT_ONCE
    assert len({order.index for order in given_out}) == ORIGIN_AT_ONCE
    assert sum(isinstance(answer, Wait) for answer in orders) == 20 - ORIGIN_AT_ONCE // 2


def seeded(count: int = 1, *names: str) -> Swarm:
    """A swarm in which `seed` has everything and the others nothing."""
    swarm = swarm_of(count, *names)
    swarm.join("seed", url("seed"), "10.0.0.1", range(count), 0.0)
    return swarm


def test_a_neighbour_serves_so_many_at_once_and_no_more() -> None:
    names = [f"node{number}" for number in range(UPLOADS + 2)]
    swarm = seeded(1, *names)
    answers = [swarm.next(name, Report(), 1.0) for name in names]
    assert answers[:UPLOADS] == [(Order(0, url("seed")),)] * UPLOADS
    assert answers[UPLOADS:] == [Wait(), Wait()]
    assert swarm.next(names[0], Report(((Outcome.GOT, 0),)), 2.0) == Done()
    answer = swarm.next(names[-1], Report(), 2.0)
    assert answer in ((Order(0, url("seed")),), (Order(0, url(names[0])),)), "one place is free, and one more gives"


def test_who_got_nothing_for_long_takes_from_the_origin() -> None:
    names = [f"node{number}" for number in range(UPLOADS + 1)]
    swarm = seeded(1, *names)
    for name in names[:-1]:
        swarm.next(name, Report(), 1.0)
    assert swarm.next(names[-1], Report(), PATIENCE_S) == Wait()
    assert swarm.next(names[-1], Report(), PATIENCE_S + 1) == (Order(0, ORIGIN),)


def test_a_neighbour_is_not_asked_twice_by_whom_it_failed() -> None:
    swarm = seeded(1, "a", "b", "c")
    assert swarm.next("a", Report(), 1.0) == (Order(0, url("seed")),)
    assert swarm.next("a", Report(((Outcome.BAD, 0),)), 2.0) == (Order(0, ORIGIN),)


def test_after_enough_complaints_nobody_is_sent_to_a_neighbour() -> None:
    names = [f"node{number}" for number in range(COMPLAINTS)]
    swarm = seeded(1, *names, "last")
    for name in names:
        assert swarm.next(name, Report(), 1.0) == (Order(0, url("seed")),)
        swarm.next(name, Report(((Outcome.GONE, 0),)), 1.0)
    assert swarm.next("last", Report(), 1.0) == Wait(), "it comes from the origin now, to the first that complained"
    swarm.next(names[0], Report(((Outcome.GOT, 0),)), 1.0)
    assert swarm.next("last", Report(), 1.0) == (Order(0, url(names[0])),)


def test_who_complains_of_everybody_is_not_believed() -> None:
    swarm = swarm_of(40, "liar", "honest")
    for number in range(10):
        swarm.join(f"seed{number}", url(f"seed{number}"), "10.0.0.1", range(40), 0.0)
    report, origin = Report(), 0
    for _ in range(20):
        answer = swarm.next("liar", report, 1.0)
        assert isinstance(answer, tuple)
        origin += sum(order.source is ORIGIN for order in answer)
        report = Report(tuple((Outcome.BAD, order.index) for order in answer))
    assert origin > 0
    answer = swarm.next("honest", Report(), 1.0)
    assert isinstance(answer, tuple)
    assert {order.source for order in answer} <= {url(f"seed{number}") for number in range(10)}
    assert sum(len(swarm._peers[f"seed{number}"].accused_by) for number in range(10)) <= SUSPICIOUS


def test_what_a_neighbour_lacks_is_no_complaint() -> None:
    swarm = seeded(2, "a")
    answer = swarm.next("a", Report(), 1.0)
    assert isinstance(answer, tuple)
    assert {order.source for order in answer} == {url("seed")}
    again = swarm.next("a", Report(((Outcome.LACKS, 0), (Outcome.GOT, 1))), 1.0)
    assert again == (Order(0, ORIGIN),)


def test_a_neighbour_on_the_same_network_comes_first() -> None:
    swarm = Swarm(1)
    swarm.join("far", url("far"), "10.9.0.1", [0], 0.0)
    swarm.join("near", url("near"), "10.0.0.1", [0], 0.0)
    swarm.join("a", url("a"), "10.0.0.2", [], 0.0)
    assert swarm.next("a", Report(), 1.0) == (Order(0, url("near")),)


def test_a_window_is_kept_to_and_what_is_dropped_is_not_offered() -> None:
    swarm = swarm_of(10, "writer", "other")
    answer = swarm.next("writer", Report(low=4, high=6), 1.0)
    assert answer == (Order(4, ORIGIN), Order(5, ORIGIN))
    got = ((Outcome.GOT, 4), (Outcome.GOT, 5))
    assert swarm.next("writer", Report(got, low=4, high=6, dropped=5), 1.0) == Wait(), "not done: the window moves"
    found = {order.index: order.source for order in _all_of(swarm, "other")}
    assert (found[4], found[5]) == (ORIGIN, url("writer"))
    assert swarm.next("writer", Report(low=10, high=14), 1.0) == Done()


def _all_of(swarm: Swarm, name: str) -> list[Order]:
    orders: list[Order] = []
    report = Report()
    while isinstance(answer := swarm.next(name, report, 1.0), tuple):
        orders += answer
        report = Report(tuple((Outcome.GOT, order.index) for order in answer))
    return orders


def test_orders_of_machines_that_vanished_are_given_to_others() -> None:
    swarm = swarm_of(1, "gone", "here")
    assert swarm.next("gone", Report(), 1.0) == (Order(0, ORIGIN),)
    assert swarm.next("here", Report(), 2.0) == Wait()
    assert swarm.next("here", Report(), PATIENCE_S - 1) == Wait()
    late = ORDER_S + 2
    assert swarm.next("here", Report(), late) == (Order(0, ORIGIN),)
    assert swarm.next("here", Report(((Outcome.GOT, 0),)), late) == Done()
    swarm.next("here", Report(), SILENT_S + 10)
    assert swarm.next("gone", Report(), SILENT_S + 10) is None, "silent for too long: it has to join again"


def test_a_machine_that_leaves_gives_nothing_and_frees_what_it_held() -> None:
    swarm = seeded(1, "a", "b")
    assert swarm.next("a", Report(), 1.0) == (Order(0, url("seed")),)
    swarm.leave("seed")
    assert swarm.next("b", Report(), 1.0) == (Order(0, ORIGIN),)
    swarm.leave("nobody")
    assert len(swarm) == 2


IGNORED = {
    "a chunk beyond the end": (Outcome.GOT, 99),
    "a chunk that was not ordered": (Outcome.GOT, 1),
    "a complaint of a chunk that was not ordered": (Outcome.BAD, 1),
}


@pytest.mark.parametrize("claim", IGNORED.values(), ids=IGNORED.keys())
def test_what_nobody_ordered_counts_for_nothing(claim: tuple[Outcome, int]) -> None:
    swarm = swarm_of(2, "a", "b")
    swarm.next("a", Report((claim,), low=0, high=0), 1.0)
    answer = swarm.next("b", Report(), 1.0)
    assert isinstance(answer, tuple)
    assert {(order.index, order.source) for order in answer} == {(0, ORIGIN), (1, ORIGIN)}
    assert swarm.from_origin == 2
