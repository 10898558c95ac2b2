"""The archive writer, against cpio itself."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from provisioner.discovery.build.cpio import Device, Entry, File, Link, archive

TREE: dict[str, Entry] = {
    "init": Link("usr/lib/init"),
    "usr/lib/init": File(b"#!/bin/sh\n", 0o755),
    "usr/share/odd": File(b"x" * 5),
    "usr/share/empty": File(b""),
}


def unpack(data: bytes, place: Path) -> None:
    subprocess.run(["cpio", "--extract", "--make-directories", "--quiet"], input=data, cwd=place, check=True)


def listed(data: bytes) -> list[str]:
    done = subprocess.run(["cpio", "--list", "--verbose", "--numeric-uid-gid", "--quiet"],
                          input=data, capture_output=True, check=True)  # fmt: skip
    return done.stdout.decode().splitlines()


def test_cpio_unpacks_what_was_packed(tmp_path: Path) -> None:
    unpack(b"".join(archive(TREE, ("proc", "var/log"))), tmp_path)
    assert (tmp_path / "usr/lib/init").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE((tmp_path / "usr/lib/init").stat().st_mode) == 0o755
    assert (tmp_path / "init").readlink() == Path("usr/lib/init")
    assert (tmp_path / "usr/share/odd").read_bytes() == b"xxxxx"
    assert (tmp_path / "usr/share/empty").read_bytes() == b""
    assert (tmp_path / "var/log").is_dir()


def test_everything_is_roots_and_from_1970() -> None:
    lines = listed(b"".join(archive({**TREE, "dev/console": Device(5, 1)})))
    assert all(line.split()[2:4] == ["0", "0"] and "1970" in line for line in lines)
    assert next(line for line in lines if line.startswith("crw-------")).split()[4:6] == ["5,", "1"]


def test_the_order_in_which_entries_were_given_does_not_matter() -> None:
    assert b"".join(archive(dict(reversed(TREE.items())))) == b"".join(archive(TREE))


def test_folders_come_before_what_is_in_them() -> None:
    names = [line.split()[-1] for line in listed(b"".join(archive(TREE, ("a/b/c",)))) if "->" not in line]
    assert names == sorted(names)
    assert {"a", "a/b", "a/b/c", "usr", "usr/lib"} <= set(names)


@given(st.dictionaries(st.sampled_from(["a", "b", "c/d", "c/e"]), st.binary(max_size=40)))
def test_records_are_aligned(contents: dict[str, bytes]) -> None:
    records = list(archive({name: File(data) for name, data in contents.items()}))
    assert all(len(record) % 4 == 0 and record.startswith(b"070701") for record in records)
    assert b"TRAILER!!!" in records[-1]
