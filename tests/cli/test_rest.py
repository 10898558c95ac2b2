"""`hold`, `let-go`, `adopt`, `boot-via`, `retire`, `unretire`, `rescue`, `resume`."""

from __future__ import annotations

import json

import pytest

from provisioner import yamlfile
from tests.cli.conftest import Ctl, Ran


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


COMMANDS = {
    "hold": ("hold", "{}", "new DIMM"),
    "power": ("power", "{}", "off", "-y"),
    "boot": ("boot", "{}", "debian-12"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS.keys())
def test_of_one_machine_it_is_an_object_of_several_a_list(ctl: Ctl, words: tuple[str, ...]) -> None:
    def ran(names: str, form: str) -> Ran:
        return ctl(*(word.format(names) for word in words), "-o", form)

    assert json.loads(ran("node17", "json").out)["name"] == "node17"
    assert [row["name"] for row in json.loads(ran("node18,node19", "json").out)] == ["node18"]
    assert [row["name"] for row in yamlfile.load(ran("node18,node19", "yaml").out, "stdout").value] in ([], ["node18"])
    assert ran("node19", "json").out == ""


def test_what_is_cancelled_is_data(ctl: Ctl) -> None:
    ctl("boot", "node[17-18]", "debian-12")
    assert json.loads(ctl("cancel", "node17", "-o", "json").out)["run"]["outcome"] == "cancelled"
    assert ctl("cancel", "node[17-18]", "-o", "name").out == "node18\n"


def test_how_machines_boot(ctl: Ctl) -> None:
    assert ctl("boot-via", "node[17-18]", "http").out == "node17 boots by http\nnode18 boots by http\n"
    assert "boots by   http" in ctl("show", "node17").out.splitlines()
    assert ctl("boot-via", "node17", "floppy").status == 2


def test_rescue_cancel_resume(ctl: Ctl) -> None:
    assert ctl("rescue", "node17").err.startswith("node17 is inspecting (rescue")
    assert ctl("cancel", "node17").status == 0
    assert json.loads(ctl("resume", "node17", "-o", "json").out)["run"]["outcome"] == "running"
    assert ctl("unrescue", "node18").status == 0
