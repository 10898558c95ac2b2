"""What a rack needs on its host: found wherever a release of the distribution keeps it; and to be worked on alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from provisioner.errors import LabError
from provisioner.lab import process, rack
from provisioner.lab.accel import emulation
from provisioner.lab.spec import encode, plan

WHERE = {
    "where the newest release keeps it": ["share"],
    "where an older one does": ["lib"],
    "both": ["share", "lib"],
}


@pytest.mark.parametrize("there", WHERE.values(), ids=WHERE.keys())
def test_a_file_is_found_at_any_of_its_places(tmp_path: Path, there: list[str]) -> None:
    for name in there:
        (tmp_path / name).touch()
    assert rack.absent({"ipxe-qemu": (tmp_path / "share", tmp_path / "lib")}) == {}


def test_a_package_that_is_not_there_is_named_with_its_file(tmp_path: Path) -> None:
    places = (tmp_path / "share", tmp_path / "lib")
    assert rack.absent({"ipxe-qemu": places, "ovmf": (tmp_path,)}) == {"ipxe-qemu": str(tmp_path / "share")}


LEFT = {
    "a record that is empty": {"rack.json": "", "daemon.log": ""},
    "half a record": {"rack.json": '{"name": "provlab-left", "machi'},
    "another record": {"rack.json": "[]", "supervisor.json": "{", "daemon.json": ""},
    "a record that was never given its name": {".rack.json": "{"},
    "nothing yet": {},
}


@pytest.mark.parametrize("files", LEFT.values(), ids=LEFT.keys())
def test_what_a_command_that_was_killed_left_is_taken_down(tmp_path: Path, files: dict[str, str]) -> None:
    state = tmp_path / "rack"
    state.mkdir()
    for name, text in files.items():
        (state / name).write_text(text)
    assert rack.down("provlab-left", state, print)
    assert not state.exists()


def test_what_is_no_rack_is_not_taken_down(tmp_path: Path) -> None:
    (tmp_path / "rack").mkdir()
    (tmp_path / "rack" / "letters").write_text("")
    (tmp_path / "file").write_text("")
    for name in ("rack", "file"):
        with pytest.raises(LabError, match=r"holds no rack.json: not removed"):
            rack.down("provlab-left", tmp_path / name, print)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "letters", "rack"]


def test_two_commands_do_not_work_on_one_rack(tmp_path: Path) -> None:
    state = tmp_path / "rack"
    with rack.alone("provlab-twice"), pytest.raises(LabError, match="another command brings the rack provlab-twice"):
        rack.down("provlab-twice", state, print)
    assert rack.down("provlab-twice", state, print) is False


def test_a_record_that_is_damaged_is_named_with_the_command_that_helps(tmp_path: Path) -> None:
    (tmp_path / "rack.json").write_text("")
    with pytest.raises(LabError) as damaged:
        rack.find(tmp_path)
    assert damaged.value.message.startswith(f"{tmp_path}/rack.json: the rack's record is damaged: ")
    assert damaged.value.hint == f"`provisionctl lab down --name {tmp_path.name}`, then `up`"


OTHERS = {
    "none": ((), "`provisionctl lab up --name mine` makes one"),
    "one": (("rvone",), "`--name rvone` is there; `provisionctl lab up --name mine` makes one"),
    "several": (("b", "a"), "`--name a`, `--name b` are there; `provisionctl lab up --name mine` makes one"),
}


@pytest.mark.parametrize(("names", "hint"), OTHERS.values(), ids=OTHERS.keys())
def test_a_rack_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, names: tuple[str, ...], hint: str
) -> None:
    for name in names:
        (tmp_path / f"provisioner-lab-{name}").mkdir()
        (tmp_path / f"provisioner-lab-{name}" / "rack.json").write_text("")
    (tmp_path / "provisioner-lab-left-over").mkdir()
    with pytest.raises(LabError, match="there is no rack at") as missing:
        rack.find(tmp_path / "provisioner-lab-mine")
    assert missing.value.hint == hint


@pytest.mark.netns
def test_a_rack_with_a_daemon_is_not_taken_for_one_without(tmp_path: Path) -> None:
    spec = plan("provlab-bare", tmp_path, 3, emulation("a test"), lambda: "secret")
    (tmp_path / "rack.json").write_text(encode(spec))
    us = {"pid": os.getpid(), "started": process.start_time(os.getpid())}
    for name in ("supervisor", "daemon"):
        (tmp_path / f"{name}.json").write_text(json.dumps(us))
    assert rack.up(spec.name, tmp_path, None, print) == spec
    with pytest.raises(
        LabError, match=r"provlab-bare is there with a daemon, though --no-daemon .*--name provlab-bare"
    ):
        rack.up(spec.name, tmp_path, None, print, bare=True)
