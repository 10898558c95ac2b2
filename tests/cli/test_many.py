"""Several machines at once."""

from __future__ import annotations

import threading

import pytest

from provisioner.cli.exits import ApiProblem, Exit, exit_of
from provisioner.cli.many import AT_ONCE, for_each

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


def refuse(names: set[str]) -> Exit:
    def ask(name: str) -> str:
        if name in names:
            raise ApiProblem(404, f"there is no machine {name!r}")
        return name

    failure = for_each(NAMES[:3], ask, lambda name: None)
    return Exit.OK if failure is None else exit_of(failure)


OUTCOMES = {
    "all did": (set[str](), Exit.OK),
    "some did not": ({NAMES[1]}, Exit.PARTIAL),
    "none did": (set(NAMES), Exit.FAILED),
}


@pytest.mark.parametrize(("names", "status"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_what_the_command_exits_with(names: set[str], status: Exit, capsys: pytest.CaptureFixture[str]) -> None:
    assert refuse(names) is status
    assert capsys.readouterr().err.count("there is no machine") == len(names & set(NAMES[:3]))


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
