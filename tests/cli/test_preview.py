"""`render` and `params`: exactly the file to stdout, where its values come from to stderr."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.cli.conftest import Ctl, Daemon
from tests.web.fakes import NODE17


@pytest.fixture(autouse=True)
def node17(daemon: Daemon) -> None:
    """A machine of which nobody set anything."""
    daemon.conductor.machines.by_name["node17"] = replace(NODE17, params={})


def test_all_files_of_a_boot(ctl: Ctl) -> None:
    ran = ctl("render", "node17", "debian-12")
    assert ran.status == 0
    assert [line for line in ran.out.splitlines() if line.startswith("==> ")] == [
        "==> kernel-args <==",
        "==> job.sh <==",
    ]


def test_one_file_is_all_of_stdout(ctl: Ctl) -> None:
    ran = ctl("render", "node17", "debian-12", "job.sh")
    assert ran.out.startswith("#!/bin/sh\n")
    assert "==>" not in ran.out
    assert ran.out.endswith("\n")
    assert json.loads(ctl("render", "node17", "debian-12", "job.sh", "-o", "json").out)["files"][0]["text"] == ran.out


def test_what_is_not_there_is_said(ctl: Ctl) -> None:
    assert ctl("render", "node17", "debian-12", "job").status == 3
    assert ctl("params", "node17", "disk.layuot").err.startswith("provisionctl: no parameter 'disk.layuot'")


def test_parameters_of_one_boot(ctl: Ctl) -> None:
    ran = ctl("params", "node17", "system.domain", "--set", "system.domain=dc1.example", "--explain")
    assert ran.out.splitlines()[-1].split() == ["system.domain", "boot", "dc1.example", "this", "boot", "wins"]
    ran = ctl("render", "node17", "debian-12", "job.sh", "--set", "system.domain=dc1.example")
    assert "system.domain = dc1.example  (this boot)" in ran.err
    assert "node17.dc1.example" in ran.out


def test_every_parameter_and_what_it_takes(ctl: Ctl) -> None:
    some, everything = (ctl("params", "node17", *more).out for more in ((), ("--all",)))
    assert "suse.email" not in some
    assert "suse.email" in everything
    wide = ctl("params", "node17", "disk.select", "-o", "wide").out.splitlines()
    assert wide[0].split() == ["PARAMETER", "VALUE", "FROM", "LAYERS", "TAKES", "ABOUT"]
    assert "merge" in wide[1]
    assert "Which disks the system may use" in wide[1]
    assert next(line for line in wide if line.startswith("disk.select.order ")).split()[1:] == [
        "smallest,", "largest,", "first",
    ]  # fmt: skip


def test_parameters_and_their_layers(ctl: Ctl) -> None:
    ran = ctl("params", "node17", "disk.layout")
    assert ran.out.splitlines()[0].split() == ["PARAMETER", "VALUE", "FROM"]
    assert ran.out.splitlines()[1].split() == ["disk.layout", "plain", "default"]
    ran = ctl("params", "node17", "disk.layout", "--explain")
    assert ran.out.splitlines()[1].split() == ["disk.layout", "default", "plain", "default", "wins"]
    assert json.loads(ctl("params", "node17", "disk.layout", "-o", "json").out)[0]["value"] == "plain"
