"""`rollout` and its companions, against a daemon's API."""

from __future__ import annotations

import json

import pytest

from provisioner.cli import following
from provisioner.cli.exits import Exit
from provisioner.lifecycle.restored import rollout_stopped
from tests.cli.conftest import Ctl, Daemon, cut_once
from tests.web.fakes import NOW


@pytest.mark.slow
def test_a_rollout_is_followed_to_its_end(daemon: Daemon, ctl: Ctl) -> None:
    ran = ctl("rollout", "debian-12", "--select", "node*", "--at-once", "1", "--wait", "--yes")
    assert (ran.status, ran.err) == (Exit.OK, ran.err)
    assert "machines  2 done" in ran.out
    assert "rollout R1 is running: 1 waiting, 1 starting" in ran.err
    listed = ctl("rollouts")
    assert "R1" in listed.out
    assert "2/2" in listed.out
    assert ctl("rollouts", "-o", "name").out == "R1\n"
    assert [line.split()[:2] for line in ctl("rollouts", "R1").out.splitlines()[1:]] == [
        ["node17", "done"],
        ["node18", "done"],
    ]


@pytest.mark.slow
def test_one_that_failed_too_often_says_who_and_why(daemon: Daemon, ctl: Ctl) -> None:
    daemon.rollouts.fails = {"node17"}
    ran = ctl("rollout", "debian-12", "-l", "node*", "--at-once", "1", "--wait", "--yes")
    assert ran.status == Exit.FAILED
    assert "node17: disk too small" in ran.out
    assert "2 of 2 machines did not get there" in ran.err, "one was not begun"
    assert "1 machines failed, 0 may" in ran.out
    assert json.loads(ctl("rollout-resume", "R1", "-o", "json").out)["status"] == "running"
    daemon.rollouts.fails = set()
    ctl("rollouts", "R1")
    assert ctl("rollout-abort", "R1").status == Exit.CONFLICT  # it is done


def test_pause_and_abort(daemon: Daemon, ctl: Ctl) -> None:
    daemon.rollouts.stuck = True
    assert ctl("rollout", "debian-12", "-l", "node*", "--at-once", "1", "-y").status == Exit.OK
    assert "paused by the operator" in ctl("rollout-pause", "R1").out
    assert "1 starting, 1 skipped" in ctl("rollout-abort", "R1").out


ORDERS = {"pause": "1 waiting, 1 done", "abort": "1 done, 1 skipped"}


@pytest.mark.parametrize(("order", "counts"), ORDERS.items(), ids=ORDERS.keys())
def test_one_that_somebody_else_ended_is_no_success(
    daemon: Daemon, ctl: Ctl, monkeypatch: pytest.MonkeyPatch, order: str, counts: str
) -> None:
    daemon.rollouts.stuck = True

    def pause(_seconds: float) -> None:
        if daemon.rollouts.stuck:
            ctl(f"rollout-{order}", "R1")
            daemon.rollouts.stuck = False

    monkeypatch.setattr(following, "pause", pause)
    ran = ctl("rollout", "debian-12", "-l", "node*", "--at-once", "1", "--wait", "--yes")
    assert counts in ran.out
    assert (ran.status, "1 of 2 machines did not get there" in ran.err) == (Exit.PARTIAL, True)


GOES_ON = "the rollout goes on; `provisionctl rollouts R1` shows it, `provisionctl rollout-abort R1` ends it"


def test_who_waits_no_longer_is_told_how_to_follow_and_to_end_it(
    daemon: Daemon, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.rollouts.stuck = True
    words = ("rollout", "debian-12", "-l", "node*", "--wait", "--yes")
    ran = ctl(*words, "--timeout", "0s")
    assert ran.status == Exit.TIMED_OUT
    assert f"({GOES_ON})" in ran.err

    def pause(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "pause", pause)
    ctl("rollout-abort", "R1")
    ran = ctl(*words)
    assert ran.status == Exit.INTERRUPTED
    assert f"no longer waiting: {GOES_ON.replace('R1', 'R2')}" in ran.err


def test_one_from_a_backup_says_what_it_would_install(daemon: Daemon, ctl: Ctl) -> None:
    daemon.rollouts.stuck = True
    ctl("rollout", "debian-12", "-l", "node*", "--at-once", "1", "-y")
    daemon.rollouts.replace("R1", rollout_stopped(daemon.rollouts.get("R1"), NOW))
    ran = ctl("rollout-resume", "R1")
    assert (ran.status, "even where that was done since: node17, node18" in ran.err) == (Exit.CONFLICT, True)
    assert "status    running" in ctl("rollout-resume", "R1", "--restored").out


@pytest.mark.slow
def test_an_order_whose_answer_was_lost_is_given_once(daemon: Daemon, ctl: Ctl) -> None:
    daemon.rollouts.stuck = True
    ctl("rollout", "debian-12", "-l", "node*", "--at-once", "1", "-y")
    for order in ("pause", "resume", "abort"):  # a second one of each is refused
        daemon.rollouts.order = cut_once(daemon.rollouts.order)  # type: ignore[method-assign]
        assert ctl(f"rollout-{order}", "R1").status == Exit.OK


def test_the_plan_touches_nothing(daemon: Daemon, ctl: Ctl) -> None:
    ran = ctl("rollout", "debian-12", "-l", "rack=r1", "--plan")
    assert [line.split() for line in ran.out.splitlines()] == [["NAME", "STATE", "BOOTENV"], ["node17", "ready"]]
    assert "1 machines, 4 at once; nothing was touched" in ran.err
    planned = ctl("rollout", "debian-12", "-l", "rack=r1", "--plan", "-o", "json")
    assert [row["name"] for row in json.loads(planned.out)] == ["node17"]
    ran = ctl("rollout", "debain-12", "-l", "rack=r1", "--plan")
    assert (ran.status, ran.out) == (Exit.NOT_FOUND, "")
    assert "no bootenv is called 'debain-12'" in ran.err
    assert daemon.rollouts.all() == []


def test_machines_by_selector(daemon: Daemon, ctl: Ctl) -> None:
    assert ctl("machines", "-l", "node[17-18],!rack=r1", "-o", "name").out == "node18\n"
    ran = ctl("machines", "-l", "node[18")
    assert ran.status == Exit.USAGE
    assert "bracket" in ran.err
    ran = ctl("machines", "-l", "power=onn")
    assert ran.status == Exit.USAGE
    assert ran.err.startswith("provisionctl: not a selector: 'power=onn': 'onn' is none of off, on")
