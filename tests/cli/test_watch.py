"""`trace` and `events`."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import pytest

from provisioner import yamlfile
from provisioner.model.trace import Channel
from tests.cli.conftest import Ctl, Daemon
from tests.web.fakes import NOW


def journey(daemon: Daemon) -> None:
    see = daemon.conductor.see
    see("node17", Channel.LIFE, "boot debian-12", run="r-1")
    see("node17", Channel.BMC, "power is off", at=NOW + 1.25, run="r-1")
    see("node17", Channel.DHCP, "no free \x1b[31maddress", at=NOW + 62.5, run="r-1", ok=False)
    see("node18", Channel.DHCP, "somebody else", at=NOW + 63)
    see("node17", Channel.LIFE, "boot debian-12", at=NOW + 3600, run="r-2")


def test_trace_is_one_line_a_step(ctl: Ctl, daemon: Daemon) -> None:
    journey(daemon)
    lines = ctl("trace", "node17").out.splitlines()
    assert lines[0].startswith("run r-1, 20")
    assert [line[:9] for line in lines[1:4]] == ["   +0.000", "   +1.250", "  +62.500"]
    assert lines[2].endswith(" bmc       power is off")
    assert lines[3].endswith(" dhcp    ! no free \\x1b[31maddress")
    assert lines[4:6] == ["", lines[5]]
    assert lines[5].startswith("run r-2, 20")
    assert "somebody else" not in "".join(lines)


def test_trace_of_the_last_run(ctl: Ctl, daemon: Daemon) -> None:
    journey(daemon)
    lines = ctl("trace", "node17", "--last").out.splitlines()
    assert [lines[0].split(",")[0], lines[1][:9]] == ["run r-2", "   +0.000"]


def test_trace_as_json(ctl: Ctl, daemon: Daemon) -> None:
    journey(daemon)
    assert [line["channel"] for line in json.loads(ctl("trace", "node17", "-o", "json").out)] == [
        "life",
        "bmc",
        "dhcp",
        "life",
    ]


@pytest.mark.parametrize(
    "only", [["--grep", "zzz"], ["--channel", "console"], ["--run", "none"], ["--troubles", "--run", "x"]]
)
def test_nothing_that_matches_is_not_nothing_seen(ctl: Ctl, daemon: Daemon, only: list[str]) -> None:
    journey(daemon)
    ran = ctl("trace", "node17", *only)
    assert (ran.status, ran.out, ran.err) == (0, "", "nothing in the trace of node17 matches\n")


def test_nothing_seen_is_said_on_stderr(ctl: Ctl) -> None:
    ran = ctl("trace", "node17")
    assert (ran.status, ran.out, ran.err) == (0, "", "nothing was seen of node17 yet\n")


def test_a_trace_is_searched(ctl: Ctl, daemon: Daemon) -> None:
    journey(daemon)

    def found(*only: str) -> list[str]:
        return [line["text"] for line in json.loads(ctl("trace", "node17", *only, "-o", "json").out)]

    assert found("--grep", "POWER") == ["power is off"]
    assert found("--troubles") == found("--channel", "dhcp") == ["no free \x1b[31maddress"]
    assert found("--run", "r-2") == ["boot debian-12"]
    assert "one of dhcp, dhcp6, 4011" in ctl("trace", "node17", "--channel", "dhpc").err


def test_a_long_trace_is_read_to_its_end(ctl: Ctl, daemon: Daemon) -> None:
    for number in range(2001):
        daemon.conductor.see("node17", Channel.TFTP, f"block {number}", at=NOW)
    lines = ctl("trace", "node17").out.splitlines()
    assert len(lines) == 2001
    assert lines[-1].endswith("block 2000")


def test_events(ctl: Ctl, daemon: Daemon) -> None:
    ctl("boot", "node17", "debian-12")
    ctl("power", "node18", "on")
    lines = ctl("events").out.splitlines()
    assert [line.split()[0::3] for line in lines] == [["1", "run.started"], ["2", "machine.power"]]
    assert lines[0].endswith("run.started        node17 state=deploying")
    assert [json.loads(line)["seq"] for line in ctl("events", "-o", "json", "--after", "1").out.splitlines()] == [2]
    *_, last = ctl("events", "-o", "yaml").out.split("---\n")
    assert yamlfile.load(last, "stdout").value["seq"] == 2
    assert ctl("events", "--machine", "node18").out.count("\n") == 1


def following(daemon: Daemon, *args: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-u", "-m", "provisioner.cli", "--socket", str(daemon.path), *args]
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})


@pytest.mark.slow
def test_events_are_followed_through_a_restart(daemon: Daemon) -> None:
    daemon.do(daemon.conductor.emit("node17", "one"))
    with following(daemon, "events", "-f") as command:
        assert command.stdout is not None
        assert " one " in command.stdout.readline()
        daemon.stop()
        daemon.do(daemon.conductor.emit("node17", "two"))
        daemon.start()
        assert " two " in command.stdout.readline()
        daemon.do(daemon.conductor.emit("node17", "three"))
        assert " three " in command.stdout.readline()
        command.terminate()


@pytest.mark.slow
def test_a_trace_that_is_followed_as_yaml_is_one_document_a_line(daemon: Daemon) -> None:
    for text in ("one", "two"):
        daemon.conductor.see("node17", Channel.DHCP, text)
    with following(daemon, "trace", "-f", "node17", "-o", "yaml") as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "---\n"
        first = "".join(itertools.takewhile(lambda line: line != "---\n", command.stdout))
        assert yamlfile.load(first, "stdout").value["text"] == "one"
        command.terminate()


@pytest.mark.slow
def test_a_trace_is_followed(daemon: Daemon) -> None:
    daemon.conductor.see("node17", Channel.DHCP, "first")
    with following(daemon, "trace", "-f", "node17") as command:
        assert command.stdout is not None
        assert command.stdout.readline().endswith("first\n")
        daemon.conductor.see("node17", Channel.TFTP, "second")
        assert command.stdout.readline().endswith("second\n")
        command.terminate()


@pytest.mark.slow
def test_a_trace_that_is_counted_anew_is_followed_from_its_beginning(daemon: Daemon) -> None:
    for text in ("one", "two"):
        daemon.conductor.see("node17", Channel.DHCP, text)
    with following(daemon, "trace", "-f", "node17") as command:
        assert command.stdout is not None
        assert [command.stdout.readline().split()[-1] for _ in range(2)] == ["one", "two"]
        daemon.conductor.lines.clear()
        daemon.conductor.see("node17", Channel.DHCP, "anew")
        assert command.stdout.readline().endswith("anew\n")
        command.terminate()
