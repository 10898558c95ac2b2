"""`machines`, `show`, `enrol`, `power`, `forget`: what people and scripts read."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner import yamlfile
from provisioner.cli.exits import Exit
from tests.cli.conftest import Ctl, Daemon
from tests.web.fakes import NODE17


def test_machines_as_a_table(ctl: Ctl) -> None:
    lines = ctl("machines").out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "PHASE", "PROFILE", "BOOTENV", "POWER", "BMC", "AGE"]
    assert lines[1].split()[:6] == ["node17", "ready", "small", "off", "ipmi", "192.0.2.17"]
    assert max(map(len, lines)) <= 80


def test_machines_for_scripts(ctl: Ctl) -> None:
    assert ctl("machines", "-o", "name").out == "node17\nnode18\n"
    assert [machine["name"] for machine in json.loads(ctl("machines", "-o", "json").out)] == ["node17", "node18"]
    assert yamlfile.load(ctl("machines", "-o", "yaml").out, "stdout").value[0]["name"] == "node17"
    assert "52:54:00:00:00:17" in ctl("machines", "-o", "wide").out


def test_no_machines_is_said_beside_the_data(ctl: Ctl) -> None:
    ran = ctl("machines", "--state", "active")
    assert (ran.status, ran.out, ran.err) == (0, "", "no machine is like that\n")
    assert ctl("machines", "--state", "active", "-q").err == ""
    assert ctl("machines", "--state", "active", "-o", "json").out == "[]\n"


def test_show_describes_a_machine(ctl: Ctl, daemon: Daemon) -> None:
    daemon.do(daemon.conductor.boot("node17", "debian-12"))
    daemon.do(daemon.conductor.fail("node17", "no DHCP request within 300 s", "check the cable"))
    said = ctl("machine", "node17").out
    for line in (
        "machine    node17",
        "profile    small: memory below 4 GiB",
        "bmc        ipmi://admin@192.0.2.17:623",
        "boot debian-12: failed (run r-1)",
        "  cpu       EPYC (1 socket, 2 cores, 2 threads)",
        "  memory    2.0 GiB",
        "  disks     vda  8.0 GiB  virtio  blank",
        "what to do      check the cable",
    ):
        assert line in said.splitlines()
    assert "failed in dhcp  no DHCP request within 300 s" in said
    assert "canary" not in said


def test_a_failure_stands_in_the_table_and_a_cancelled_run_does_not(ctl: Ctl, daemon: Daemon) -> None:
    daemon.do(daemon.conductor.boot("node17", "debian-12"))
    daemon.do(daemon.conductor.fail("node17", "no DHCP request within 300 s"))
    daemon.do(daemon.conductor.boot("node18", "debian-12"))
    daemon.do(daemon.conductor.cancel("node18"))
    lines = ctl("machines").out.splitlines()
    assert "failed: dhcp" in lines[1]
    assert lines[2].split()[:3] == ["node18", "ready", "small"]
    assert "no DHCP request" in ctl("machines", "-o", "wide").out


def test_what_a_machine_says_cannot_steer_the_terminal(ctl: Ctl, daemon: Daemon) -> None:
    assert NODE17.facts is not None
    evil = replace(NODE17, serial="\x1b[2J", profile="x\ny", facts=replace(NODE17.facts, vendor="\x1b]0;evil\x07"))
    daemon.do(daemon.conductor.put(evil, "machine.facts"))
    for args in (["machines", "-o", "wide"], ["show", "node17"], ["machines", "-o", "json"]):
        said = ctl(*args).out
        assert "\x1b" not in said
        assert "\x07" not in said


PASSWORD = "canary-bmc-pw"


def enrolled(daemon: Daemon) -> str:
    return daemon.conductor.passwords["node20"]


ENROL = ("enrol", "node20", "--bmc", "ipmi://admin@192.0.2.20")


def test_enrol_reads_the_password_from_a_file(ctl: Ctl, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(f"{PASSWORD}\nsecond line\n")
    ran = ctl(*ENROL, "--password-file", str(tmp_path / "pw"), "--mac", "52-54-00-00-00-20", "--tag", "rack=r1")
    assert ran.out == "node20 is enrolled with its BMC ipmi://admin@192.0.2.20:623\n"
    assert enrolled(daemon) == PASSWORD
    assert daemon.conductor.machines.get("node20").macs == ("52:54:00:00:00:20",)


def test_enrol_reads_the_password_from_stdin(ctl: Ctl, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    assert ctl(*ENROL, "--password-stdin").status == 0
    assert enrolled(daemon) == PASSWORD


def test_enrol_reads_the_password_from_the_environment(
    ctl: Ctl, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISIONER_BMC_PASSWORD", PASSWORD)
    assert ctl(*ENROL).status == 0
    assert enrolled(daemon) == PASSWORD


def test_enrol_without_a_password_says_where_it_may_be(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ran = ctl(*ENROL)
    assert ran.status == 1
    assert ran.err.startswith("provisionctl: no password for the BMC (--password-file FILE")


def test_enrol_says_what_the_bmc_said(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_BMC_PASSWORD", "wrong")
    ran = ctl(*ENROL)
    assert ran.status == 1
    assert ran.err == "provisionctl: ipmi://admin@192.0.2.20:623: user or password refused (check --password-file)\n"


def test_ten_thousand_machines_may_be_named(ctl: Ctl) -> None:
    """They go by query: 110,000 characters, as many as a word of a command line may have and a few less."""
    names = ",".join(f"rack-{number:05}" for number in range(9_998))
    assert ctl("machines", "-l", f"{names},node17", "-o", "name").out == "node17\n"
    assert ctl("params", "node17", "--set", f"packages.install={'x' * 100_000}").status == Exit.FAILED


def test_a_virtual_machine_has_no_password(ctl: Ctl, daemon: Daemon) -> None:
    assert ctl("enrol", "node21", "--bmc", "libvirt://localhost/my%20vm", "--no-verify").status == 0
    bmc = daemon.conductor.machines.get("node21").bmc
    assert bmc is not None
    assert (bmc.system, str(bmc)) == ("my vm", "libvirt://localhost/my%20vm")


def test_a_file_that_is_not_there(ctl: Ctl, tmp_path: Path) -> None:
    ran = ctl(*ENROL, "--password-file", str(tmp_path / "none"))
    assert ran.status == 1
    assert ran.err == f"provisionctl: --password-file {tmp_path / 'none'}: No such file or directory\n"


def test_power_and_forget(ctl: Ctl) -> None:
    assert ctl("power", "node17", "on").out == "node17 is on\n"
    assert ctl("power", "node[17-18]", "off").out == "node17 is off\nnode18 is off\n"
    assert ctl("power", "node17", "up").status == 2
    ran = ctl("forget", "node16,node17")
    assert (ran.status, ran.err.splitlines()[1:]) == (
        7,
        ["node17 is forgotten", "provisionctl: 1 of 2 machines refused"],
    )
    assert ctl("show", "node17").status == 3
