"""What a rack needs on its host: found wherever a release of the distribution keeps it; and to be worked on alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import LabError
from provisioner.lab import rack

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
