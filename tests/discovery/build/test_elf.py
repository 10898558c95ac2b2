"""Which libraries a program needs, against what the program loader itself finds."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.discovery.build.elf import Needs, needs
from provisioner.errors import WireError

CURL = Path(shutil.which("curl") or "/usr/bin/curl")


def needed_by_readelf(file: Path) -> list[str]:
    out = subprocess.run(["ldd", "-v", file], capture_output=True, check=True, text=True).stdout
    direct = out.split(f"{file}:\n", 1)[1].split("\n\t/", 1)[0]
    return sorted(set(re.findall(r"^\t\t(\S+) \(", direct, re.MULTILINE)))


def test_a_program_as_the_loader_sees_it() -> None:
    found = needs(CURL.resolve().read_bytes())
    assert found is not None
    assert found.interpreter.startswith("/lib")
    # ldd names only libraries with versioned symbols here; ours are a superset
    assert set(needed_by_readelf(CURL)) <= {*found.libraries, Path(found.interpreter).name}
    assert any(name.startswith("libcurl.so") for name in found.libraries)


def test_a_static_program_needs_nothing() -> None:
    assert needs(Path("/usr/bin/busybox").resolve().read_bytes()) == Needs()


NOT_ELF = {"a script": b"#!/bin/sh\n", "nothing": b"", "a text": b"hello"}


@pytest.mark.parametrize("data", NOT_ELF.values(), ids=NOT_ELF.keys())
def test_what_is_no_elf_file(data: bytes) -> None:
    assert needs(data) is None


BROKEN = {
    "32 bits": b"\x7fELF\x01\x01" + bytes(60),
    "big-endian": b"\x7fELF\x02\x02" + bytes(60),
    "cut short": b"\x7fELF\x02\x01" + bytes(10),
    "a table beyond the end": b"\x7fELF\x02\x01" + bytes(26) + b"\xff" * 8 + bytes(14) + b"\x38\x00\x01\x00" + bytes(8),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        needs(data)


HEAD = CURL.resolve().read_bytes()[:4096]


@given(st.integers(0, len(HEAD) - 1), st.binary(min_size=1, max_size=8))
def test_any_damage_gives_an_answer_or_a_wire_error(at: int, junk: bytes) -> None:
    with contextlib.suppress(WireError):
        needs(b"\x7fELF\x02\x01" + (HEAD[:at] + junk + HEAD[at + len(junk) :])[6:])
