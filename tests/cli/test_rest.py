"""`hold`, `let-go`, `adopt`, `boot-via`, `retire`, `unretire`, `rescue`, `resume`."""

from __future__ import annotations

import json

from tests.cli.conftest import Ctl


def test_a_machine_is_held_with_a_reason_and_let_go(ctl: Ctl) -> None:
    assert ctl("hold", "node17", "new DIMM").out == "node17 is maintenance\n"
    assert "held       new DIMM (then back to ready)" in ctl("show", "node17").out.splitlines()
    assert "new DIMM" in ctl("machines", "-o", "wide").out
    assert ctl("let-go", "node17").out == "node17 is ready\n"
    assert ctl("let-go", "node17").err == "provisionctl: node17 is ready: it is not held\n"
    assert ctl("hold", "node[17-18]", "odd", "--quarantine").out == "node17 is quarantined\nnode18 is quarantined\n"


def test_adopt_and_retire(ctl: Ctl) -> None:
    assert ctl("adopt", "node17", "old-system", "-o", "name").out == "node17\n"
    assert ctl("retire", "node17").status == 4
    ran = ctl("retire", "node17,node18")
    assert (ran.status, ran.out) == (7, "node18 is retired\n")
    assert ctl("unretire", "node18").out == "node18 is enrolled\n"


def test_how_machines_boot(ctl: Ctl) -> None:
    assert ctl("boot-via", "node[17-18]", "http").out == "node17 boots by http\nnode18 boots by http\n"
    assert "boots by   http" in ctl("show", "node17").out.splitlines()
    assert ctl("boot-via", "node17", "floppy").status == 2


def test_rescue_cancel_resume(ctl: Ctl) -> None:
    assert ctl("rescue", "node17").err.startswith("node17 is inspecting (rescue")
    assert ctl("cancel", "node17").status == 0
    assert json.loads(ctl("resume", "node17", "-o", "json").out)["run"]["outcome"] == "running"
    assert ctl("unrescue", "node18").status == 0
