"""Catalogues that were handed over: kept by content, swept by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.catalog.generations import Generations
from provisioner.errors import StoreError

FILES = {"bootenvs/mine.yaml": "label: mine\n"}


def test_only_generations_are_swept(tmp_path: Path) -> None:
    kept = Generations(tmp_path)
    old, new = kept.write(FILES), kept.write({**FILES, "templates/a.j2": "x"})
    (tmp_path / ".new-cut-short").mkdir()
    (tmp_path / "bootenvs").mkdir()
    (tmp_path / "bootenvs" / "own.yaml").write_text("an operator's")
    kept.sweep(new)
    assert old != new
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([new, "bootenvs"])
    assert (tmp_path / "bootenvs" / "own.yaml").exists()


def test_a_place_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "catalogue").write_text("in its place")
    with pytest.raises(StoreError, match=r"catalogue: the catalogue cannot be written: .*File exists"):
        Generations(tmp_path / "catalogue").write(FILES)


@pytest.mark.netns
def test_a_full_disk_is_told_and_nothing_of_it_stays(tmp_path: Path) -> None:
    script = f"""
import os, pathlib
from provisioner.catalog.generations import Generations
from provisioner.errors import StoreError
kept = Generations(pathlib.Path("{tmp_path}/state"))
try:
    kept.write({{"bootenvs/mine.yaml": "#" * (1 << 20)}})
except StoreError as error:
    print(error)
print(os.listdir("{tmp_path}/state"), kept.write({FILES}) in os.listdir("{tmp_path}/state"))
"""
    mount = f"mkdir {tmp_path}/state && mount -t tmpfs -o size=256k tmpfs {tmp_path}/state && exec {sys.executable} -"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount], check=False, input=script, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.splitlines() == [
        f"{tmp_path}/state: the catalogue cannot be written: its disk is full (free space, then try again)", "[] True",
    ], done.stderr  # fmt: skip
