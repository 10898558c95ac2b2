"""`boot`, `release`, and `--wait` to the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from provisioner.cli import progress
from provisioner.cli.exits import Exit
from provisioner.model.catalog import Bootenv, Kind
from provisioner.model.machine import Failure, Hold, Machine, State
from provisioner.web.ports import BootenvStatus, Site
from tests.cli.conftest import Ctl, Daemon, cut_once
from tests.web import fakes
from tests.web.fakes import NODE17


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask often: these tests wait for real."""
    monkeypatch.setattr(progress, "POLL_S", 0.01)


def test_boot_says_what_has_begun(ctl: Ctl, daemon: Daemon) -> None:
    ran = ctl("boot", "node17", "debian-12")
    assert (ran.status, ran.out) == (0, "")
    assert ran.err == "node17 is deploying (boot debian-12): `provisionctl trace -f node17` follows it\n"
    assert daemon.conductor.machines.get("node17").state is State.DEPLOYING


def test_boot_for_scripts(ctl: Ctl) -> None:
    assert json.loads(ctl("boot", "node17", "debian-12", "-o", "json").out)["run"]["bootenv"] == "debian-12"
    assert ctl("boot", "node18", "debian-12", "-o", "name").out == "node18\n"


def test_parameters_of_one_boot(ctl: Ctl, daemon: Daemon) -> None:
    daemon.conductor.machines.by_name["node17"] = replace(NODE17, params={})
    assert ctl("boot", "node17", "debian-12", "--set", "disk.layout=zfs", "--plan").status == 1
    ran = ctl("boot", "node17", "debian-12", "--set", "disk.layout=lvm", "--set", "packages.install=[vim, tmux]", "-y")
    assert (ran.status, daemon.conductor.params) == (0, {"disk.layout": "lvm", "packages.install": ["vim", "tmux"]})


def test_the_way_of_one_boot_is_chosen(ctl: Ctl, daemon: Daemon) -> None:
    for way, is_medium in (("media", True), ("network", False)):
        ran = ctl("boot", "node17", "debian-12", "--via", way, "--plan")
        assert ("its BMC's virtual drive" in ran.out) is is_medium, ran.out
    assert ctl("boot", "node17", "debian-12", "--via", "media").status == 0
    assert daemon.conductor.via == "media"
    assert ctl("boot", "node17", "debian-12", "--via", "floppy").status == 2


def follow(daemon: Daemon, *steps: Callable[[], None]) -> None:
    """Let something happen each time that the run of node17 is looked at."""
    left = list(steps)
    machines = daemon.conductor.machines
    plain = machines.find

    def looked_at(ref: str) -> Machine | None:
        machine = plain(ref)
        if left and ref == "node17" and machine is not None and machine.run is not None:
            left.pop(0)()
        return plain(ref)

    machines.find = looked_at  # type: ignore[method-assign]


def change(daemon: Daemon, name: str, **fields: object) -> None:
    """Change a machine's run in place, as seen from the daemon's own loop."""
    machines = daemon.conductor.machines.by_name
    machine = machines[name]
    assert machine.run is not None
    machines[name] = replace(machine, run=replace(machine.run, **fields))  # type: ignore[arg-type]


def end(daemon: Daemon, name: str, outcome: str, **fields: object) -> None:
    machines = daemon.conductor.machines.by_name
    machine = machines[name]
    assert machine.run is not None
    run = replace(machine.run, outcome=outcome, ended=machine.run.started + 161)
    machines[name] = replace(machine, run=run, **fields)  # type: ignore[arg-type]


NO_DHCP = Failure("no DHCP request within 300 s", "dhcp", 0, State.READY, "check the cable")


def test_wait_tells_each_phase_and_the_end(ctl: Ctl, daemon: Daemon) -> None:
    follow(
        daemon,
        lambda: None,
        lambda: change(daemon, "node17", at=1),
        lambda: change(daemon, "node17", at=2, percent=41.5, note="writing"),
        lambda: end(daemon, "node17", "done", state=State.ACTIVE, bootenv="debian-12"),
    )
    ran = ctl("boot", "node17", "debian-12", "--wait")
    assert (ran.status, ran.out) == (0, "node17 is active: boot debian-12 done in 2m41s\n")
    phases = [line.split()[1:] for line in ran.err.splitlines()]
    assert phases == [["node17", "power"], ["node17", "dhcp"], ["node17", "install"]]


def test_wait_ends_with_the_reason_and_what_to_do(ctl: Ctl, daemon: Daemon) -> None:
    follow(daemon, lambda: end(daemon, "node17", "failed", failure=NO_DHCP))
    ran = ctl("boot", "node17", "debian-12", "--wait")
    assert ran.status == 1
    assert ran.err.splitlines()[-1] == (
        "provisionctl: node17: boot debian-12 failed in dhcp: no DHCP request within 300 s (check the cable)"
    )


def test_wait_that_takes_too_long_exits_124_and_leaves_it_going(ctl: Ctl, daemon: Daemon) -> None:
    ran = ctl("boot", "node17", "debian-12", "--wait", "--timeout", "0")
    assert ran.status == 124
    assert ran.err.splitlines()[-1] == (
        "provisionctl: not there after 0s: node17 is in power (node17 goes on; `provisionctl trace -f node17` follows, "
        "`provisionctl cancel node17` ends it)"
    )
    assert daemon.conductor.machines.get("node17").state is State.DEPLOYING


def test_several_machines_are_waited_for_at_once(ctl: Ctl, daemon: Daemon) -> None:
    follow(
        daemon,
        lambda: end(daemon, "node18", "done", state=State.ACTIVE),
        lambda: end(daemon, "node17", "cancelled", state=State.READY),
    )
    ran = ctl("boot", "node[17-18]", "debian-12", "--wait")
    assert ran.status == 7
    assert ran.out == "node18 is active: boot debian-12 done in 2m41s\n"
    assert ran.err.splitlines()[-2:] == [
        "node17: boot debian-12 cancelled (`provisionctl why node17` tells more)",
        "provisionctl: 1 of 2 machines did not get there",
    ]


def test_who_waits_is_given_as_data_what_failed_as_well(ctl: Ctl, daemon: Daemon) -> None:
    def ended() -> None:
        end(daemon, "node17", "failed", failure=NO_DHCP)
        end(daemon, "node18", "done", state=State.ACTIVE)

    follow(daemon, ended)
    ran = ctl("boot", "node[17-18]", "debian-12", "--wait", "-o", "json")
    assert ran.status == Exit.PARTIAL
    assert [row["run"]["outcome"] for row in json.loads(ran.out)] == ["failed", "done"]


def test_one_that_refuses_does_not_keep_the_others(ctl: Ctl, daemon: Daemon) -> None:
    ran = ctl("boot", "node16,node17", "debian-12")
    assert ran.status == 7
    assert "no machine is called 'node16'" in ran.err
    assert ran.err.splitlines()[-1] == "provisionctl: 1 of 2 machines refused"
    assert daemon.conductor.machines.get("node17").state is State.DEPLOYING


@pytest.mark.slow
def test_wait_survives_a_restart_of_the_daemon(daemon: Daemon) -> None:
    with waiting(daemon, "boot", "node17", "debian-12", "--wait") as command:
        assert command.stderr is not None
        assert command.stderr.readline().split()[1:] == ["node17", "power"]
        daemon.stop()
        assert "the daemon does not answer" in command.stderr.readline()
        end(daemon, "node17", "done", state=State.ACTIVE)
        daemon.start()
        assert command.wait(timeout=20) == 0


STOPPED = {
    "one": (
        "node17",
        "no longer waiting: node17 goes on; `provisionctl trace -f node17` follows, "
        "`provisionctl cancel node17` ends it",
    ),
    "several": (
        "node[17-18]",
        "no longer waiting: node17, node18 go on; `provisionctl trace -f node17` follows, "
        "`provisionctl cancel node17,node18` ends them",
    ),
}


@pytest.mark.parametrize(("names", "said"), STOPPED.values(), ids=STOPPED.keys())
def test_ctrl_c_leaves_it_going_and_says_so(daemon: Daemon, names: str, said: str) -> None:
    with waiting(daemon, "boot", names, "debian-12", "--wait") as command:
        assert command.stderr is not None
        command.stderr.readline()
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=20) == 130
        assert command.stderr.read().strip().splitlines()[-1] == said
    assert daemon.conductor.machines.get("node17").state is State.DEPLOYING


def waiting(daemon: Daemon, *args: str) -> subprocess.Popen[str]:
    """Run a command in a process of its own, which takes Ctrl-C even where a shell's background job does not."""
    return subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-m", "provisioner.cli", "--socket", str(daemon.path), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PROVISIONER_SOCKET": ""},
    )


@pytest.mark.slow
def test_an_answer_that_was_lost_is_asked_for_again_not_done_again(ctl: Ctl, daemon: Daemon) -> None:
    daemon.conductor.boot = cut_once(daemon.conductor.boot)  # type: ignore[method-assign]
    assert ctl("boot", "node17", "debian-12").status == 0
    assert [event.type for event in daemon.conductor.log] == ["run.started"]


def test_release_keeps_or_erases(ctl: Ctl, daemon: Daemon) -> None:
    assert ctl("release", "node17").status == 0
    assert ctl("release", "node18", "--keep-data").status == 0
    runs = [machine.run.verb for machine in daemon.conductor.machines.all() if machine.run]
    assert runs == ["release", "release-keep"]


def test_discover_boots_the_discovery_system(ctl: Ctl, daemon: Daemon) -> None:
    assert ctl("discover", "node17").status == 0
    run = daemon.conductor.machines.get("node17").run
    assert run is not None
    assert run.bootenv == "discovery"


class Terminal:
    """A stdin that is a terminal at which somebody types."""

    def __init__(self, typed: str) -> None:
        self._typed = typed

    def isatty(self) -> bool:
        return True

    def readline(self, size: int = -1) -> str:
        typed, self._typed = self._typed, ""
        return typed


ANSWERS = {"yes": ("y\n", 0, State.RELEASING), "no": ("n\n", 1, State.ACTIVE), "nothing": ("\n", 1, State.ACTIVE)}


@pytest.mark.parametrize(("typed", "status", "state"), ANSWERS.values(), ids=ANSWERS.keys())
def test_a_machine_in_use_is_asked_for(
    ctl: Ctl, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, typed: str, status: int, state: State
) -> None:
    daemon.conductor.machines.by_name["node17"] = replace(NODE17, state=State.ACTIVE, bootenv="debian-12")
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    ran = ctl("release", "node17")
    assert ran.status == status
    assert "node17 (debian-12): in use; `release` destroys what is on the disk. Go on?" in ran.out + ran.err
    assert daemon.conductor.machines.get("node17").state is state


CHANGED = ["release node17", "boot node17 debian-12", "rescue node17", "power node17 off", "forget node17 --force"]


@pytest.mark.parametrize("command", CHANGED)
def test_what_somebody_said_yes_to_is_not_done_to_what_it_is_by_then(
    ctl: Ctl, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    daemon.conductor.machines.by_name["node17"] = replace(NODE17, state=State.ACTIVE, bootenv="debian-12")
    by_then = replace(NODE17, state=State.ACTIVE, bootenv="their-database", generation=NODE17.generation + 1)

    class Thinks(Terminal):
        def readline(self, size: int = -1) -> str:
            daemon.conductor.machines.by_name["node17"] = by_then
            return super().readline(size)

    monkeypatch.setattr(sys, "stdin", Thinks("y\n"))
    ran = ctl(*command.split())
    assert ran.status == 4
    assert "generation 3 is not the current one" in ran.err
    assert daemon.conductor.machines.get("node17") is by_then


HELD = Hold("", State.ACTIVE, 0.0)
FORGOTTEN: dict[str, tuple[Machine, str, str]] = {
    "in the rescue system": (replace(NODE17, state=State.RESCUE), "forget node17", "node17 (rescue): in use; `forget`"),
    "active": (
        replace(NODE17, state=State.ACTIVE, bootenv="debian-12"), "forget node17 --force",
        "node17 (debian-12): in use; `forget --force`"),
    "held while active": (
        replace(NODE17, state=State.MAINTENANCE, hold=HELD), "forget node17 --force",
        "node17 (maintenance): in use; `forget --force`"),
}  # fmt: skip


@pytest.mark.parametrize(("machine", "command", "asks"), FORGOTTEN.values(), ids=FORGOTTEN.keys())
def test_what_is_in_use_is_not_forgotten_unasked(
    ctl: Ctl, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, machine: Machine, command: str, asks: str
) -> None:
    daemon.conductor.machines.by_name["node17"] = machine
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    ran = ctl(*command.split())
    assert ran.status == 1
    assert f"{asks} deletes all that is kept of it, and what runs on it goes on. Go on?" in ran.out + ran.err
    assert daemon.conductor.machines.get("node17") is machine
    assert ctl(*command.split(), "--yes").status == 0
    assert daemon.conductor.machines.find("node17") is None


OFF = "switches it off, whatever runs on it"
DOES = {
    "discover node17": f"{OFF}, and starts it from its disk again",
    "boot node17 discovery": f"{OFF}, and starts it from its disk again",
    "boot node17 local": f"{OFF}, and starts it from its disk again",
    "boot node17 memtest": f"{OFF}, and starts what may write to its disk",
    "boot node17 debian-12": "destroys what is on the disk",
    "boot node17 ubuntu-22.04": "destroys what is on the disk",
    "boot node17 nosuch": "destroys what is on the disk",
    "rescue node17": OFF,
    "release node17 --keep-data": OFF,
    "power node17 off": OFF,
    "power node17 cycle": "restarts it, whatever runs on it",
    "power node17 reset": "restarts it, whatever runs on it",
    "bmc do node17 power.off": OFF,
    "bmc do node17 power.nmi": "stops its system, which writes down its memory",
}


def with_more(conductor: fakes.FakeConductor) -> Site:
    more = (Bootenv("local", "The disk", Kind.DISK, "", {}), Bootenv("memtest", "Memory test", Kind.LIVE, "", {}))
    return replace(fakes.site(conductor), bootenvs=lambda: (*fakes.BOOTENVS, *map(BootenvStatus, more)))


@pytest.mark.parametrize("command", DOES)
def test_what_it_does_to_a_machine_in_use_is_said_before(
    ctl: Ctl, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    daemon.conductor.machines.by_name["node17"] = replace(NODE17, state=State.ACTIVE, bootenv="debian-12")
    daemon.site = with_more
    daemon.stop()
    daemon.start()
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    ran = ctl(*command.split())
    assert ran.status == 1
    what = command.replace(" node17", "")
    assert f"node17 (debian-12): in use; `{what}` {DOES[command]}. Go on?" in ran.out + ran.err
    assert daemon.conductor.machines.get("node17").state is State.ACTIVE
    assert "Go on?" not in ctl(*command.split(), "--yes").err
