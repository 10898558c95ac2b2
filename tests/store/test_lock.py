"""Who may work on a state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.errors import StoreError
from provisioner.store.lock import alone

HOLD = """
import sys
from pathlib import Path
from provisioner.store.lock import alone
with alone(Path(sys.argv[1]), "provisionerd", "end it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[bytes]:
    """Start another process that holds a directory."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_the_second_is_told_who_the_first_is_until_that_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with holder(folder) as first:
        with (
            pytest.raises(
                StoreError, match=rf"state: provisionerd \(pid {first.pid}\) works on this state directory .end it."
            ),
            alone(folder, "provisionctl", "end it"),
        ):
            pass
        first.kill()
    with alone(folder, "provisionctl", "end it"):
        assert (folder / "lock").read_text() == f"provisionctl {os.getpid()}\n"
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_a_program_that_is_started_meanwhile_does_not_keep_it(tmp_path: Path) -> None:
    with alone(tmp_path, "provisionerd", "end it"):
        left = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with left, alone(tmp_path, "provisionerd", "end it"):
        left.kill()


def test_a_longer_name_that_was_there_before_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("somebody-with-a-long-name 123456789\n")
    with alone(tmp_path, "x", "end it"):
        assert (tmp_path / "lock").read_text() == f"x {os.getpid()}\n"


def a_file(path: Path) -> None:
    path.write_text("")


def a_lock_that_is_a_link(path: Path) -> None:
    path.mkdir()
    (path / "lock").symlink_to(path.parent / "elsewhere")


BAD = {
    "the directory is a file": (a_file, "state: cannot be used as state directory: File exists"),
    "the lock leads elsewhere": (a_lock_that_is_a_link, "state: cannot be used as state directory: Too many levels"),
}


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD.keys())
def test_a_place_that_cannot_hold_one_says_why(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    make(tmp_path / "state")
    with pytest.raises(StoreError, match=said), alone(tmp_path / "state", "provisionerd", "end it"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.netns
def test_a_full_disk_is_for_the_store_to_tell() -> None:
    """The lock needs no room. A disk of its own, in a mount namespace of its own."""
    fill = "mount -t tmpfs -o size=64k tmpfs /mnt && mkdir /mnt/state && ! head -c 100k /dev/zero > /mnt/x 2> /dev/null"
    command = ("unshare", "-m", "sh", "-c", f'{fill} && exec {sys.executable} -c "$0" /mnt/state', HOLD)
    ran = subprocess.run(command, capture_output=True, text=True, input="", timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "held\n", "")
