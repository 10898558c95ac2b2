"""`boot --plan`: all that would happen, and how the boot would end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from provisioner.model.machine import State
from tests.cli.conftest import Ctl, Daemon
from tests.web.fakes import NODE17


def test_plan_touches_nothing(ctl: Ctl, daemon: Daemon) -> None:
    daemon.conductor.machines.by_name["node17"] = replace(NODE17, params={})
    ran = ctl("boot", "node17", "debian-12", "--plan")
    assert (ran.status, ran.err) == (0, "")
    shown = [line.strip() for line in ran.out.splitlines()]
    assert shown[0] == "node17: deploy debian-12 (Debian 12 (bookworm), written as a disk image); nothing was touched"
    assert "ok      bmc: ipmi://admin@192.0.2.17:623 lets us in" in shown
    assert any("vda 8.0 GiB: ERASED, it holds blank" in line for line in shown)
    assert any("artefact debian-12/amd64/" in line and "sha256 abababababab" in line for line in shown)
    assert "#!ipxe" in ran.out
    assert daemon.conductor.log == []


def test_plan_says_what_of_a_bootenv_could_not_be_checked_whether_it_was_booted_or_not(
    ctl: Ctl, daemon: Daemon
) -> None:
    daemon.conductor.machines.by_name["node17"] = replace(NODE17, params={})
    assert "  untested: disk.encryption: tpm - " in ctl("boot", "node17", "debian-12-packages", "--plan").out
    assert "  untested: never booted from this URL" in ctl("boot", "node17", "memtest", "--plan").out
    assert "untested" not in ctl("boot", "node17", "debian-12", "--plan").out


def test_plan_says_what_would_be_refused(ctl: Ctl, daemon: Daemon) -> None:
    daemon.conductor.machines.by_name["node17"] = replace(NODE17, params={}, bmc=None, facts=None)
    ran = ctl("boot", "node17", "debian-12", "--plan")
    assert ran.status == 1
    assert "refused bmc: node17 has no BMC on record (`provisionctl bmc add node17 redfish://" in ran.out
    assert ran.err.startswith("provisionctl: boot debian-12 would be refused; nothing was touched")
    plans = json.loads(ctl("boot", "node17", "debian-12", "--plan", "-o", "json").out)
    assert plans["node17"]["ok"] is False


PLANNED = {
    "one that is not there": ("nope", [], 3, "provisionctl: no machine is called 'nope'"),
    "one that may not begin": (
        "node18", ["node18"], 4, "provisionctl: boot debian-12 would be refused; nothing was touched"),
    "one of several that is not there": ("node17,nope", ["node17"], 7, "provisionctl: 1 of 2 machines refused"),
    "one that may not begin, and others": (
        "node17,node18,nope", ["node17", "node18"], 7, "provisionctl: 2 of 3 machines refused"),
    "none of several": ("node18,nope", ["node18"], 1, "provisionctl: 2 of 2 machines refused"),
    "all": ("node17,node19", ["node17", "node19"], 0, ""),
}  # fmt: skip


@pytest.mark.parametrize(("names", "shown", "status", "says"), PLANNED.values(), ids=PLANNED.keys())
def test_plan_ends_as_the_boot_of_these_machines_would(
    ctl: Ctl, daemon: Daemon, names: str, shown: list[str], status: int, says: str
) -> None:
    machines = daemon.conductor.machines.by_name
    machines["node17"] = replace(NODE17, params={})
    machines["node18"] = replace(NODE17, id="m-18", name="node18", params={}, state=State.RETIRED)
    machines["node19"] = replace(NODE17, id="m-19", name="node19", params={})
    ran = ctl("boot", names, "debian-12", "--plan")
    told = [line.partition(":")[0] for line in ran.out.splitlines() if line.endswith("; nothing was touched")]
    assert (ran.status, told) == (status, shown)
    assert (ran.err.splitlines() or [""])[-1].startswith(says)
    assert ran.err.count("no machine is called 'nope'") == ("nope" in names)
