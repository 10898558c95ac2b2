"""Hashes out of indexes of Debian and RPM mirrors, however they are packed; nothing but hashes out of anything else."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.catalog import packageindex

A, B = "a" * 64, "b" * 64
DEBIAN = f"""Package: hello
Filename: pool/main/h/hello/hello_2.10-3_amd64.deb
Size: 7
SHA256: {A}

Package: zlib
Filename: ./pool/z/zlib_1_amd64.deb
SHA256: {B.upper()}

Package: without-a-hash
Filename: pool/w.deb
""".encode()
RPM = f"""<?xml version="1.0"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" packages="2">
<package type="rpm"><name>bash</name><checksum type="sha256" pkgid="YES">{A}</checksum>
<location href="Packages/b/bash.rpm"/></package>
<package type="rpm"><name>old</name><checksum type="sha">{B}</checksum><location href="Packages/o/old.rpm"/></package>
</metadata>
""".encode()
FOUND_DEBIAN = {"pool/main/h/hello/hello_2.10-3_amd64.deb": A, "pool/z/zlib_1_amd64.deb": B}
FOUND_RPM = {"Packages/b/bash.rpm": A}


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


INDEXES: dict[str, tuple[Callable[[], bytes], dict[str, str]]] = {
    "Debian": (lambda: DEBIAN, FOUND_DEBIAN),
    "Debian, gzip": (lambda: gzip.compress(DEBIAN), FOUND_DEBIAN),
    "Debian, xz": (lambda: lzma.compress(DEBIAN), FOUND_DEBIAN),
    "Debian, bzip2": (lambda: bz2.compress(DEBIAN), FOUND_DEBIAN),
    "RPM": (lambda: RPM, FOUND_RPM),
    "RPM, gzip": (lambda: gzip.compress(RPM), FOUND_RPM),
    "RPM, zstd": (lambda: zstd(RPM), FOUND_RPM),
    "something else": (lambda: b"\x00\x01\x02" * 1000, {}),
    "nothing": (lambda: b"", {}),
}


@pytest.mark.parametrize(("content", "found"), INDEXES.values(), ids=INDEXES.keys())
def test_indexes(tmp_path: Path, content: Callable[[], bytes], found: dict[str, str]) -> None:
    (tmp_path / "index").write_bytes(content())
    assert dict(packageindex.read(tmp_path / "index")) == found
    packageindex.write(found.items(), tmp_path / "sums")
    for name, digest in found.items():
        assert packageindex.look_up(tmp_path / "sums", name) == digest
    assert packageindex.look_up(tmp_path / "sums", "pool/main") == ""
    assert packageindex.look_up(tmp_path / "sums", "hello_2.10-3_amd64.deb") == ""


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \n"), min_size=1, max_size=12)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, st.binary(min_size=32, max_size=32).map(bytes.hex), max_size=30), NAMES)
def test_of_any_packages_each_is_found_and_no_other(tmp_path: Path, found: dict[str, str], other: str) -> None:
    packageindex.write(found.items(), tmp_path / "sums")
    assert {name: packageindex.look_up(tmp_path / "sums", name) for name in found} == found
    assert packageindex.look_up(tmp_path / "sums", other) == found.get(other, "")


def test_what_an_index_says_twice_is_what_it_said_first(tmp_path: Path) -> None:
    packageindex.write([("pool/a.deb", A), ("pool/a.deb", B)], tmp_path / "sums")
    assert packageindex.look_up(tmp_path / "sums", "pool/a.deb") == A


def test_lines_that_chunks_cut_in_two_are_whole(tmp_path: Path) -> None:
    stanza = "Package: p{0}\nFilename: pool/p{0}.deb\nSHA256: {1:064x}\n\n"
    (tmp_path / "index").write_text("".join(stanza.format(number, number) for number in range(20_000)))
    found = dict(packageindex.read(tmp_path / "index"))
    assert len(found) == 20_000
    assert found["pool/p19999.deb"] == f"{19999:064x}"


def run(index: Path, output: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "provisioner.catalog.packageindex", str(index), str(output)]
    return subprocess.run(command, capture_output=True, check=False)


def test_as_a_process(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(lzma.compress(DEBIAN))
    assert run(tmp_path / "index", tmp_path / "sums").returncode == 0
    assert packageindex.look_up(tmp_path / "sums", "pool/z/zlib_1_amd64.deb") == B


def test_an_index_that_is_cut_short_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(gzip.compress(DEBIAN)[:-20])
    done = run(tmp_path / "index", tmp_path / "sums")
    assert done.returncode == 1
    assert done.stderr
    assert not (tmp_path / "sums").exists()


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_stanzas_give_hashes_or_nothing(raw: bytes) -> None:
    for name, digest in packageindex.packages(raw.split(b"\n")):
        assert name
        assert len(digest) == 64
