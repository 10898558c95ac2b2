"""Tickets: one fetch, by the machine that it was armed for, while it is expected."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.boot.tickets import (
    REFETCH_S,
    Ask,
    Fetch,
    Granted,
    Holder,
    Refusal,
    Refused,
    Ticket,
    arm,
    digest_of,
    given_back,
    redeem,
    revoke,
)
from provisioner.model.catalog import AnswerFile
from provisioner.model.machine import Phase
from provisioner.model.net import Mac

MAC, OTHER = Mac("52:54:00:77:00:01"), Mac("52:54:00:77:00:02")
ANSWERS = (AnswerFile("job.sh", "x.sh.j2"), AnswerFile("user-data", "y.yaml.j2", refetch=True))
NOW, LIFE_S = 1_000_000.0, 4 * 3600.0
SECRET, TICKET = arm(bytes(range(48)), Holder("node17", "run1", MAC, "10.77.0.100"), "x-1", ANSWERS, NOW, LIFE_S)
ASK = Ask("job.sh", "10.77.0.100", MAC, "run1", Phase.FETCH)
MOVED = replace(ASK, address="10.77.0.50", mac=None, declared=True)


def fetched(answer: str, at: float = NOW + 1) -> Ticket:
    verdict = redeem(TICKET, replace(ASK, answer=answer), at)
    assert isinstance(verdict, Granted)
    return verdict.ticket


def test_only_the_digest_is_kept() -> None:
    assert len(SECRET) == 43, "256 bits in base64url"
    assert TICKET.digest == digest_of(SECRET)
    assert SECRET not in repr(TICKET)
    assert TICKET.refetch == ("user-data",)


def test_chance_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="48 are wanted"):
        arm(b"x" * 16, Holder("m", "r", MAC, "10.0.0.1"), "x", (), NOW, LIFE_S)


def test_what_the_files_were_is_kept_from_the_first_fetch_on() -> None:
    first = redeem(TICKET, replace(ASK, sums={"job.sh": "1", "user-data": "1"}), NOW + 1)
    assert isinstance(first, Granted)
    second = redeem(first.ticket, replace(ASK, answer="user-data", sums={"user-data": "2"}), NOW + 2)
    assert isinstance(second, Granted)
    assert second.ticket.sums == {"job.sh": "1", "user-data": "1"}
    anew = redeem(given_back(first.ticket, "job.sh"), replace(ASK, sums={"job.sh": "3"}), NOW + 3)
    assert isinstance(anew, Granted)
    assert anew.ticket.sums == {"job.sh": "3"}, "nothing had left"


GIVEN: dict[str, tuple[Ticket, Ask, float, bool]] = {
    "the first fetch": (TICKET, ASK, NOW + 1, False),
    "in the last moment": (TICKET, ASK, NOW + LIFE_S - 0.1, False),
    "another file of the same ticket": (fetched("user-data"), ASK, NOW + 2, False),
    "it was granted, and could not be given": (fetched("job.sh"), replace(ASK, owed=True), NOW + 3, True),
    "an earlier daemon gave it, by a clock that ran a day ahead": (
        replace(TICKET, fetched=(Fetch("job.sh", NOW + 86400, "10.77.0.100"),)),
        replace(ASK, daemon="the next"),
        NOW + 3,
        True,
    ),
    "its installer has taken the machine's static address": (fetched("user-data"), MOVED, NOW + 2, False),
    "which is leased to it as well": (fetched("user-data"), replace(MOVED, mac=MAC), NOW + 2, False),
    "the clock was set back meanwhile": (TICKET, ASK, NOW - 7200, False),
    "a second reading where the bootenv allows it": (
        fetched("user-data"),
        replace(ASK, answer="user-data"),
        NOW + 1 + REFETCH_S,
        True,
    ),
}


@pytest.mark.parametrize(("ticket", "ask", "now", "again"), GIVEN.values(), ids=GIVEN.keys())
def test_gives(ticket: Ticket, ask: Ask, now: float, again: bool) -> None:
    verdict = redeem(ticket, ask, now)
    assert isinstance(verdict, Granted)
    assert verdict.again is again
    assert verdict.ticket.fetch_of(ask.answer) is not None


twice = redeem(fetched("user-data"), replace(ASK, answer="user-data"), NOW + 2)
assert isinstance(twice, Granted)

REFUSED: dict[str, tuple[Ticket | None, Ask, float, Refusal, int]] = {
    "a guess": (None, ASK, NOW, Refusal.UNKNOWN, 404),
    "a replay": (fetched("job.sh"), ASK, NOW + 2, Refusal.USED, 410),
    "a replay from elsewhere": (fetched("job.sh"), replace(ASK, address="10.77.0.9"), NOW + 2, Refusal.USED, 410),
    "a replay after its time": (fetched("job.sh"), ASK, NOW + 2 * LIFE_S, Refusal.USED, 410),
    "a third reading": (twice.ticket, replace(ASK, answer="user-data"), NOW + 3, Refusal.USED, 410),
    "a second reading too late": (
        fetched("user-data"),
        replace(ASK, answer="user-data"),
        NOW + 2 + REFETCH_S,
        Refusal.USED,
        410,
    ),
    "a second reading from elsewhere": (
        fetched("user-data"),
        replace(ASK, answer="user-data", address="10.77.0.9"),
        NOW + 2,
        Refusal.USED,
        410,
    ),
    "a second reading when the phase is over": (
        fetched("user-data"),
        replace(ASK, answer="user-data", phase=Phase.LOCAL_BOOT),
        NOW + 2,
        Refusal.USED,
        410,
    ),
    "another address": (TICKET, replace(ASK, address="10.77.0.9"), NOW, Refusal.ADDRESS, 404),
    "another machine at the address": (TICKET, replace(ASK, mac=OTHER), NOW, Refusal.MAC, 404),
    "an address that nobody holds": (TICKET, replace(ASK, mac=None), NOW, Refusal.MAC, 404),
    "a static address before its installer can know it": (TICKET, MOVED, NOW, Refusal.ADDRESS, 404),
    "one that is leased to another": (fetched("user-data"), replace(MOVED, mac=OTHER), NOW + 2, Refusal.ADDRESS, 404),
    "another run": (TICKET, replace(ASK, run="run2"), NOW, Refusal.REVOKED, 404),
    "no run": (TICKET, replace(ASK, run="", phase=None), NOW, Refusal.REVOKED, 404),
    "a phase that fetches nothing": (TICKET, replace(ASK, phase=Phase.PHONE_HOME), NOW, Refusal.PHASE, 404),
    "before it was expected": (TICKET, replace(ASK, phase=Phase.POWER), NOW, Refusal.PHASE, 404),
    "late": (TICKET, ASK, NOW + LIFE_S, Refusal.LATE, 404),
    "a file of another bootenv": (TICKET, replace(ASK, answer="preseed"), NOW, Refusal.FILE, 404),
    "revoked": (revoke(TICKET), ASK, NOW, Refusal.REVOKED, 404),
}


@pytest.mark.parametrize(("ticket", "ask", "now", "reason", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(ticket: Ticket | None, ask: Ask, now: float, reason: Refusal, status: int) -> None:
    verdict = redeem(ticket, ask, now)
    assert isinstance(verdict, Refused)
    assert (verdict.reason, verdict.status) == (reason, status)
    assert verdict.alarm is (ticket is not None)
    assert SECRET not in verdict.text


def test_of_a_thousand_askers_one_wins() -> None:
    ticket, given = TICKET, 0
    for _ in range(1000):
        verdict = redeem(ticket, ASK, NOW)
        if isinstance(verdict, Granted):
            ticket, given = verdict.ticket, given + 1
    assert given == 1


def test_what_did_not_leave_is_given_once_more() -> None:
    other = fetched("user-data")
    taken = redeem(other, ASK, NOW + 2)
    assert isinstance(taken, Granted)
    assert given_back(taken.ticket, "job.sh") == other
    assert given_back(twice.ticket, "user-data") == other
    assert given_back(TICKET, "job.sh") == TICKET


def test_what_is_owed_is_given_as_often_as_if_it_had_not_been_granted() -> None:
    owed = redeem(fetched("user-data"), replace(ASK, answer="user-data", owed=True), NOW + 2)
    assert isinstance(owed, Granted)
    assert isinstance(redeem(owed.ticket, replace(ASK, answer="user-data"), NOW + 3), Granted), "it is read twice"


def test_what_is_owed_is_owed_to_whom_the_ticket_is_for() -> None:
    assert isinstance(redeem(fetched("job.sh"), replace(ASK, owed=True, address="10.77.0.9"), NOW + 3), Refused)


def test_a_refusal_changes_nothing() -> None:
    for _, ask, now, _, _ in REFUSED.values():
        redeem(TICKET, ask, now)
    assert isinstance(redeem(TICKET, ASK, NOW), Granted)


@given(st.text(max_size=60))
def test_any_secret_has_a_digest_and_no_guess_is_right(guess: str) -> None:
    assert digest_of(guess) != TICKET.digest
