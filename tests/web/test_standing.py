"""When a receiver counts as away, when it is tried again, and what is told of it."""

from __future__ import annotations

import pytest

from provisioner.web.standing import Fault, Standing, fault_of, pause_s

PAUSES_S = (1.0, 2.0, 5.0)

STATUSES: dict[int, Fault | None] = {
    200: None,
    204: None,
    302: Fault("HTTP 302"),
    400: Fault("HTTP 400"),
    401: Fault("HTTP 401"),
    429: Fault("HTTP 429", silent=True),
    500: Fault("HTTP 500"),
    502: Fault("HTTP 502", silent=True),
    503: Fault("HTTP 503", silent=True),
    504: Fault("HTTP 504", silent=True),
}


@pytest.mark.parametrize(("status", "fault"), STATUSES.items(), ids=map(str, STATUSES))
def test_which_answers_are_those_of_a_receiver(status: int, fault: Fault | None) -> None:
    assert fault_of(status) == fault


@pytest.mark.parametrize(("failed", "pause"), [(1, 1.0), (2, 2.0), (3, 5.0), (4, 5.0), (99, 5.0)])
def test_pauses_grow_and_the_last_is_for_ever(failed: int, pause: float) -> None:
    assert pause_s(PAUSES_S, failed) == pause


def test_it_is_told_once_that_a_receiver_is_away_and_once_that_it_is_back() -> None:
    it = Standing(PAUSES_S)
    assert [(it.silent(0, 10.0), it.rounds, it.until)] == [(False, 1, 11.0)], "a second is no outage"
    assert [(it.silent(1, 11.0), it.rounds, it.until)] == [(True, 2, 13.0)]
    assert [(it.silent(2, 13.0), it.rounds, it.until)] == [(False, 3, 18.0)]
    assert (it.answered(18.5), it.rounds) == (8.5, 0)
    assert it.answered(19.0) is None
    assert not it.silent(0, 20.0)
    assert it.silent(1, 21.0), "the next outage is another"


def test_what_was_under_way_at_the_same_time_is_one_round() -> None:
    it = Standing(PAUSES_S)
    assert [it.silent(0, 10.0 + at / 8) for at in range(16)] == [False] * 16
    assert (it.rounds, it.until) == (1, 11.0)


def test_a_blip_is_told_neither_way() -> None:
    it = Standing(PAUSES_S)
    it.silent(0, 10.0)
    assert (it.answered(11.0), it.rounds) == (None, 0)


def test_what_is_not_taken_is_told_once_a_minute_with_how_much_more_there_was() -> None:
    it = Standing(PAUSES_S)
    told = {now: it.refused(now) for now in (0.0, 1.0, 59.0, 60.0, 119.0, 121.0, 500.0)}
    assert told == {0.0: 0, 1.0: None, 59.0: None, 60.0: 2, 119.0: None, 121.0: 1, 500.0: 0}
