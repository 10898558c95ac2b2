"""ar archives: ours, and what dpkg-deb makes of them."""

from __future__ import annotations

import contextlib

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.errors import WireError
from provisioner.lab.images import ar

HEAD = b"control.tar.xz  1716000000  0     0     100644  3         `\n"
BROKEN = {
    "nothing": b"",
    "another kind of file": b"PK\x03\x04",
    "a header that was cut off": b"!<arch>\n" + HEAD[:40],
    "a header that is none": b"!<arch>\n" + HEAD.replace(b"`", b"'"),
    "a size that is no number": b"!<arch>\n" + HEAD.replace(b"3 ", b"x "),
    "contents that were cut off": b"!<arch>\n" + HEAD + b"ab",
}


def test_a_member_as_dpkg_writes_it() -> None:
    assert list(ar.read(b"!<arch>\n" + HEAD + b"abc\n")) == [("control.tar.xz", b"abc")]


def test_a_member_as_binutils_writes_it() -> None:
    assert list(ar.read(b"!<arch>\n" + HEAD.replace(b"control.tar.xz ", b"control.tar.xz/") + b"abc")) == [
        ("control.tar.xz", b"abc")
    ]


@hypothesis.given(st.lists(st.tuples(st.from_regex(r"[a-z.-]{1,16}", fullmatch=True), st.binary(max_size=20))))
def test_what_is_written_is_read_again(members: list[tuple[str, bytes]]) -> None:
    assert list(ar.read(ar.write(members))) == members


@pytest.mark.parametrize("archive", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_archive_is_named(archive: bytes) -> None:
    with pytest.raises(WireError, match="ar archive"):
        list(ar.read(archive))


@hypothesis.given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for archive in (data, b"!<arch>\n" + data):
        with contextlib.suppress(WireError):
            assert sum(len(contents) for _, contents in ar.read(archive)) <= len(archive)
