"""`provisionctl lab` where there is no rack, and where something is missing."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.cli.root import run
from provisioner.errors import LabError
from provisioner.lab import control, namespace, rack
from provisioner.lab.faults import Fault
from provisioner.lab.spec import encode, state_of
from tests.lab.test_spec import rack as spec

NAME = "provlab-not-there"
NOBODY = 65534

WITHOUT = {
    "status": (["status"], "there is no rack"),
    "console": (["console", "node17"], "there is no rack"),
    "power": (["power", "node17", "on"], "there is no rack"),
    "fault": (["fault", "node17", "deaf"], "there is no rack"),
}


@pytest.mark.parametrize(("arguments", "words"), WITHOUT.values(), ids=WITHOUT.keys())
def test_without_a_rack(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", *arguments, "--name", NAME]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert f"`provisionctl lab up --name {NAME}`" in said


@pytest.mark.parametrize("option", ["--memory", "--disk-size"])
def test_a_size_that_is_none(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "up", option, "large", "--name", NAME]) == 2
    assert f"{option} large: not a size" in capsys.readouterr().err


NO_RACK = {
    "no such kind": (["--kinds", "bios,ilo"], "'ilo' is no kind of machine; there are bios"),
    "a kind that is no word": (["--kinds", "bios,,uefi-pxe"], "'' is no kind of machine"),
    "too many machines": (["--machines", "400"], "1<=x<=200"),
    "too many disks": (["--disks", "40"], "1<=x<=8"),
    "too many processors": (["--cpus", "999"], "1<=x<=8"),
}


@pytest.mark.parametrize(("options", "words"), NO_RACK.values(), ids=NO_RACK.keys())
def test_a_rack_that_there_cannot_be_is_wrong_usage(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["lab", "up", *options, "--name", NAME]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.netns
def test_more_memory_than_there_is_is_told_before_anything_is_begun(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "up", "--memory", "100TiB", "--name", NAME]) == 1
    said = capsys.readouterr().err
    assert "a machine with 102400 GiB of memory: this host has" in said
    assert "probing" not in said


@pytest.mark.netns
def test_a_rack_that_does_not_start_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "up", "--disk-size", "100PiB", "--no-daemon", "--name", NAME]) == 1
    assert "the rack did not start: " in (said := capsys.readouterr().err)
    assert "disk.raw: cannot make a disk of 104857600 GiB: File too large" in said
    assert not state_of(NAME).exists()
    assert not namespace.exists(NAME)


def test_down_without_a_rack_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "down", "--name", NAME]) == 0
    assert f"there is no rack {NAME}" in capsys.readouterr().err


def test_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "faults", "-o", "json"]) == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} == set(Fault)


def test_what_is_not_installed_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LabError, match=r"qemu-system-x86_64.*apt-get install .*qemu-system-x86"):
        rack.check()


def test_a_rack_whose_supervisor_is_gone(tmp_path: Path) -> None:
    (tmp_path / rack.RECORD).write_text(encode(spec()))
    found = rack.find(tmp_path)
    assert rack.supervisor_of(tmp_path) is None
    with pytest.raises(LabError, match=rf"does not answer.*provisionctl lab up --name {tmp_path.name}"):
        control.ask(tmp_path / found.control.name, "status")


def test_a_directory_that_is_no_rack_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(LabError, match=r"holds no rack\.json: not removed"):
        rack.down(NAME, tmp_path, lambda _: None)
    assert (tmp_path / "precious").exists()


def test_without_root_nothing_is_begun() -> None:
    """Nobody may end root's processes: what is said first is who may, and of which rack."""
    roots = Path("/proc/sys")
    with _anybody(), pytest.raises(LabError) as refused:
        rack.down(NAME, roots, lambda _: None)
    with _anybody(), pytest.raises(LabError) as not_up:
        rack.up(NAME, roots, None, lambda _: None)
    for verb, error in (("down", refused.value), ("up", not_up.value)):
        assert error.message == f"the rack {NAME} needs root: it has a network namespace"
        assert error.hint == f"`sudo $(command -v provisionctl) lab {verb} --name {NAME}`"


@contextlib.contextmanager
def _anybody() -> Iterator[None]:
    """Be a user without rights for a while."""
    us = os.geteuid()
    if us == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(us)
