"""Several machines at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from provisioner.cli.exits import ApiProblem, Exit, exit_of
from provisioner.cli.many import AT_ONCE, for_each, outcomes

NAMES = [f"node{number:02}" for number in range(40)]


def test_they_are_asked_at_once_and_told_in_order() -> None:
    together = threading.Barrier(AT_ONCE)  # nobody gets on before so many are under way
    told: list[str] = []

    def ask(name: str) -> str:
        if int(name[4:]) < AT_ONCE:
            together.wait(timeout=20)
        return name

    assert for_each(NAMES, ask, told.append) is None
    assert told == NAMES


def refuse(statuses: Sequence[int]) -> Exit:
    """Ask as many machines as there are statuses; each is refused with its own, where that is none of success."""
    of = dict(zip(NAMES, statuses, strict=False))

    def ask(name: str) -> str:
        if of[name] >= 400:
            raise ApiProblem(of[name], f"{name} is refused")
        return name

    failure = for_each(list(of), ask, lambda name: None)
    return Exit.OK if failure is None else exit_of(failure)


OUTCOMES = {
    "all did": ((200, 200, 200), Exit.OK),
    "some did not": ((200, 409, 200), Exit.PARTIAL),
    "none did, all by their state": ((409, 409, 409), Exit.CONFLICT),
    "none did, all by one reason, told by two statuses": ((409, 412), Exit.CONFLICT),
    "none is there": ((404, 404), Exit.NOT_FOUND),
    "none did, each for a reason of its own": ((404, 409, 422), Exit.FAILED),
    "none did, by what was looked at before": ((422, 422), Exit.FAILED),
}


@pytest.mark.parametrize(("statuses", "status"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_what_the_command_exits_with(statuses: Sequence[int], status: Exit, capsys: pytest.CaptureFixture[str]) -> None:
    assert refuse(statuses) is status
    assert capsys.readouterr().err.count("is refused") == sum(each >= 400 for each in statuses)


REFUSALS = {
    "one that names its machine": ("node01 cannot boot x: bmc: no answer", "node01 cannot boot x: bmc: no answer"),
    "one that names it further on": ("there is no machine 'node01'", "there is no machine 'node01'"),
    "one that names another": ("node011 has its address", "node01: node011 has its address"),
    "one that names none": ("no bootenv 'debian-99'", "node01: no bootenv 'debian-99'"),
}


@pytest.mark.parametrize(("text", "told"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refusal_says_whose_it_is(text: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    def ask(name: str) -> str:
        if name == "node01":
            raise ApiProblem(404, text)
        return name

    for_each(["node01", "node02"], ask, lambda name: None)
    assert capsys.readouterr().err == f"{told}\n"


FAULTS = {
    "one": (("bmc: no answer",), "node01 cannot boot x: bmc: no answer (wait)\n"),
    "several": (("bmc: no answer", "subnet: none"), "node01 cannot boot x (wait)\n  bmc: no answer\n  subnet: none\n"),
}


@pytest.mark.parametrize(("faults", "told"), FAULTS.values(), ids=FAULTS.keys())
def test_a_refusal_says_what_is_at_fault(
    faults: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(name: str) -> str:
        if name == "node01":
            raise ApiProblem(422, "node01 cannot boot x", faults=faults, hint="wait")
        return name

    for_each(["node01", "node02"], ask, lambda name: None)
    assert capsys.readouterr().err == told


def test_one_alone_says_its_own_error() -> None:
    def ask(name: str) -> str:
        raise ApiProblem(404, "no such machine")

    failure = for_each(["node17"], ask, print)
    assert isinstance(failure, ApiProblem)


def test_who_leaves_waits_for_none_that_is_under_way() -> None:
    asked, ever = [], threading.Event()

    def ask(name: str) -> str:
        asked.append(name)
        if name != NAMES[0]:
            assert ever.wait(60)
        return name

    found = outcomes(NAMES, ask)
    try:
        assert next(found) == NAMES[0]
        found.close()  # hung here, if it waited
        assert len(asked) <= AT_ONCE + 1
    finally:
        ever.set()


def test_what_nobody_thought_of_is_raised_where_it_is_asked_for() -> None:
    def ask(name: str) -> str:
        if name == NAMES[1]:
            raise ZeroDivisionError
        return name

    found = outcomes(NAMES[:3], ask)
    assert next(found) == NAMES[0]
    with pytest.raises(ZeroDivisionError):
        next(found)
