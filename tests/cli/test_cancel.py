"""`cancel`, and what is said of the machine then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from provisioner.cli import progress
from provisioner.model.bmc import Power
from provisioner.model.machine import Failure, JournalLine, Machine, Phase, State
from tests.cli.conftest import Ctl, Daemon
from tests.cli.test_boot import change, end, follow

UNANSWERED = Failure(
    "cancelled by the operator, but not switched off: no answer. It may go on writing to its disk",
    "install", 0, State.READY, "switch it off by hand",
)  # fmt: skip


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask often: these tests wait for real."""
    monkeypatch.setattr(progress, "POLL_S", 0.01)


def test_cancel(ctl: Ctl) -> None:
    ctl("boot", "node17", "debian-12")
    assert ctl("cancel", "node17").err == "node17: boot debian-12 cancelled, it is ready\n"


def test_cancel_says_that_a_machine_in_use_is_off(ctl: Ctl, daemon: Daemon) -> None:
    ctl("boot", "node17", "debian-12")
    change(daemon, "node17", return_to=State.ACTIVE)
    machines = daemon.conductor.machines.by_name
    machines["node17"] = replace(machines["node17"], power=Power.OFF)
    said = "node17: boot debian-12 cancelled, it is active, but its power is off (`provisionctl power node17 on`)\n"
    assert ctl("cancel", "node17").err == said


OFFS = {
    "it is switched off": ("done", None, 0, "node17: boot debian-12 cancelled, it is off, and ready\n"),
    "it is switched off amid its erase": (
        "done",
        Failure("cancelled by the operator", "install", 0, State.QUARANTINED),
        0,
        "node17: boot debian-12 cancelled, it is off, and quarantined: its disks may be half erased "
        "(`provisionctl resume node17` erases them anew)\n",
    ),
    "its BMC does not answer": ("failed", UNANSWERED, 1, f"{UNANSWERED.reason} (switch it off by hand)"),
}


@pytest.mark.parametrize(("outcome", "failure", "status", "said"), OFFS.values(), ids=OFFS.keys())
def test_a_machine_that_may_be_writing_is_waited_for_until_it_is_off(
    ctl: Ctl, daemon: Daemon, outcome: str, failure: Failure | None, status: int, said: str
) -> None:
    ctl("boot", "node17", "debian-12")
    daemon.conductor.writing.add("node17")
    off = JournalLine("cancel.off", Phase.POWER, 1, 0.0, 1.0, outcome)

    def over() -> None:
        change(daemon, "node17", journal=(off,))
        end(daemon, "node17", "cancelled", state=failure.return_to if failure else State.READY, failure=failure)

    follow(daemon, lambda: None, lambda: None, over)
    ran = ctl("cancel", "node17")
    assert "node17: boot debian-12 is being cancelled; it may be writing to its disk: switching it off" in ran.err
    assert (ran.status, ran.err.count(said)) == (status, 1), ran.err


def test_of_several_it_is_said_which_may_go_on_writing(ctl: Ctl, daemon: Daemon) -> None:
    ctl("boot", "node17,node18", "debian-12")
    daemon.conductor.writing |= {"node17", "node18"}
    off = JournalLine("cancel.off", Phase.POWER, 1, 0.0, 1.0, "done")

    def over() -> None:
        change(daemon, "node18", journal=(off,))
        end(daemon, "node18", "cancelled", state=State.READY)
        change(daemon, "node17", journal=(replace(off, outcome="failed"),))
        end(daemon, "node17", "cancelled", state=State.READY, failure=UNANSWERED)

    follow(daemon, lambda: None, lambda: None, over)
    ran = ctl("cancel", "node17,node18")
    assert ran.status == 7
    assert "node18: boot debian-12 cancelled, it is off" in ran.err
    assert f"node17: {UNANSWERED.reason} (switch it off by hand)\n" in ran.err
    assert "1 of 2 machines were not switched off" in ran.err


OVERTAKEN = {
    "it is forgotten": (lambda machines: machines.pop("node17"), "node17: was taken off the record"),
    "the next run has begun": (
        lambda machines: machines.update(node17=another(machines["node17"])),
        "node17: another run has begun since; `provisionctl trace node17` tells of both",
    ),
}


def another(machine: Machine) -> Machine:
    assert machine.run is not None
    return replace(machine, run=replace(machine.run, id="another", journal=()))


@pytest.mark.parametrize(("meanwhile", "said"), OVERTAKEN.values(), ids=OVERTAKEN.keys())
def test_what_is_cancelled_and_overtaken_is_not_taken_for_off(
    ctl: Ctl, daemon: Daemon, meanwhile: Callable[[dict[str, Machine]], None], said: str
) -> None:
    ctl("boot", "node17", "debian-12")
    daemon.conductor.writing.add("node17")
    follow(daemon, lambda: None, lambda: None, lambda: meanwhile(daemon.conductor.machines.by_name))
    ran = ctl("cancel", "node17")
    assert (ran.status, ran.err.splitlines()[-1]) == (1, f"provisionctl: {said}")
