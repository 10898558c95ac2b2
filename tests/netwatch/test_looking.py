"""What is sent when, and when the silence is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.netwatch.looking import VERDICT_S, Looking, Send, Target, Verdict, Way

NOW = 1000.0
HERE = Target("eth0", 5, us=1)

STEPS = {
    "on a wire of ours: ARP twice, then an echo request": (HERE, [Way.ARP, Way.ARP, Way.ECHO]),
    "where we have no address: ARP only": (Target("eth0", 5), [Way.ARP, Way.ARP]),
    "behind a router: echo requests": (Target("", 5, us=1), [Way.ROUTED, Way.ROUTED]),
}


@pytest.mark.parametrize(("target", "ways"), STEPS.values(), ids=STEPS.keys())
def test_what_is_sent_before_silence_is_believed(target: Target, ways: list[Way]) -> None:
    looking, sent = Looking(), []
    looking.begin(7, target, NOW)
    while (at := looking.next_at()) is not None:
        sends, verdicts = looking.due(at)
        sent += sends
    assert sent == [Send(way, target) for way in ways]
    assert verdicts == [Verdict(7, "")]
    assert at is None


def test_nothing_is_sent_early_and_no_verdict_comes_before_its_time() -> None:
    looking = Looking()
    looking.begin(7, HERE, NOW)
    assert looking.due(NOW) == ([Send(Way.ARP, HERE)], [])
    assert looking.due(NOW + 0.09) == ([], [])
    assert looking.due(NOW + VERDICT_S - 0.01)[1] == []
    assert looking.due(NOW + VERDICT_S) == ([], [Verdict(7, "")])


def test_an_answer_ends_the_look_at_once_and_nothing_more_is_sent() -> None:
    looking = Looking()
    looking.begin(7, HERE, NOW)
    looking.due(NOW)
    looking.answered("eth0", 5, "52:54:00:00:00:01")
    looking.answered("eth0", 5, "52:54:00:00:00:02")
    assert looking.due(NOW) == ([], [Verdict(7, "52:54:00:00:00:01")])
    assert looking.due(NOW + 1) == ([], [])
    assert (looking.next_at(), looking.waits_for(5)) == (None, False)


ANSWERS = {
    "on the same wire": (HERE, "eth0", True),
    "on another wire, where somebody may have the same address": (HERE, "eth1", False),
    "to an echo request, which came in wherever the routes lead": (HERE, "", True),
    "on a wire, to a look behind a router": (Target("", 5), "eth1", True),
}


@pytest.mark.parametrize(("target", "interface", "counts"), ANSWERS.values(), ids=ANSWERS.keys())
def test_which_answers_count(target: Target, interface: str, counts: bool) -> None:
    looking = Looking()
    looking.begin(7, target, NOW)
    looking.answered(interface, 5, "somebody")
    assert (looking.due(NOW)[1] == [Verdict(7, "somebody")]) is counts


def test_an_answer_from_an_address_that_nobody_looks_for_is_nothing() -> None:
    looking = Looking()
    looking.begin(7, HERE, NOW)
    looking.answered("eth0", 6, "somebody")
    assert looking.due(NOW)[1] == []


def test_looks_are_bounded_and_what_is_too_much_is_nobody() -> None:
    looking = Looking(most=2)
    for id in range(3):
        looking.begin(id, Target("eth0", id), NOW)
    assert looking.due(NOW)[1] == [Verdict(2, "")]
    assert looking.refused == 1
    looking.begin(0, HERE, NOW)
    assert looking.refused == 2, "a number that is under way"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(0, 0.5), st.booleans()), max_size=40))
def test_every_look_gets_exactly_one_verdict(steps: list[tuple[int, int, float, bool]]) -> None:
    looking, now, began, over = Looking(most=3), NOW, 0, 0
    for number, (address, interface, later, answer) in enumerate(steps):
        now += later
        if answer:
            looking.answered(f"eth{interface}", address, "somebody")
        else:
            looking.begin(number, Target(f"eth{interface}", address), now)
            began += 1
        over += len(looking.due(now)[1])
    over += len(looking.due(now + VERDICT_S)[1])
    assert over == began
    assert looking.next_at() is None
