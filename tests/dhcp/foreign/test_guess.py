"""Which file is which, and that no file whatever breaks its reader."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.dhcp.foreign import guess
from provisioner.dhcp.foreign.found import FileFault

FILES = {
    "kea-leases": b"address,hwaddr,client_id,valid_lifetime,expire\n",
    "kea-leases6": b"address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid\n",
    "kea-conf": b'// hello\n# there\n/* all */\n{\n // inside\n "Dhcp4": {} }',
    "isc-leases": b"# The format of this file\n\nauthoring-byte-order little-endian;\n",
    "isc-conf": b'option domain-name "x";\nsubnet 10.0.0.0 netmask 255.0.0.0 {\n}\n',
    "dnsmasq-conf": b"# conf\ninterface=br0\ndhcp-range=10.0.0.5,10.0.0.9\n",
    "dnsmasq-leases": b"1795672800 52:54:00:00:00:01 10.0.0.5 * *\n",
    "dnsmasq-hosts": b"# hosts\n52:54:00:00:00:01,10.0.0.5\n",
}
MORE = {
    "a lease file that begins with a lease": (b"lease 10.0.0.5 {\n}\n", "isc-leases"),
    "hosts alone": (b"host a { hardware ethernet 52:54:00:00:00:01; }", "isc-conf"),
    "an empty object": (b"{}", "kea-conf"),
    "dnsmasq with v6 only": (b"duid 00:01\n", "dnsmasq-leases"),
    "dnsmasq, one word": (b"dhcp-authoritative\n", "dnsmasq-conf"),
}


@pytest.mark.parametrize(("name", "data"), FILES.items(), ids=FILES.keys())
def test_files(name: str, data: bytes) -> None:
    assert guess.guess(data, "f") == name
    assert guess.read(data, "f").faults == []


@pytest.mark.parametrize(("data", "name"), MORE.values(), ids=MORE.keys())
def test_more(data: bytes, name: str) -> None:
    assert guess.guess(data, "f") == name


def test_a_file_that_is_none_of_them() -> None:
    with pytest.raises(FileFault, match=r"f:1: no lease file .*--format says which: isc-conf, "):
        guess.read(b"hello\n", "f")


def test_an_empty_file_holds_nothing() -> None:
    assert [note.text for note in guess.read(b"\n", "f").notes] == ["the file is empty"]


def test_what_is_no_text() -> None:
    with pytest.raises(FileFault, match="f:2: a NUL octet"):
        guess.read(b"lease\n\0", "f")


def test_the_format_may_be_said() -> None:
    assert guess.read(b"node1\n", "f", "dnsmasq-hosts").kind == "dnsmasq dhcp-hostsfile"


PIECES = st.sampled_from(
    [
        *(b"lease 10.0.0.5 {", b"host a {", b"}", b";", b"hardware ethernet 52:54:00:00:00:01", b'uid "\\', b'"'),
        *(b"fixed-address ", b"10.0.0.5", b"ends ", b"4 2026/11/26 05:00:00", b"subnet ", b"range ", b"\n", b" ", b","),
        *(b"dhcp-host=", b"dhcp-range=", b"52:54:00:00:00:01", b"1795672800 ", b"duid", b"* ", b"{", b"[", b"]", b":"),
        *(
            b'"Dhcp4"',
            b'"reservations"',
            b'"hw-address"',
            b"//",
            b"/*",
            b"address,hwaddr,client_id,",
            b"&#x2c",
            b"\xff",
        ),
    ]
)


@pytest.mark.parametrize("name", guess.FORMATS)
@given(data=st.lists(PIECES, max_size=30).map(b"".join) | st.binary(max_size=80))
def test_any_bytes_give_contents_or_a_fault(name: str, data: bytes) -> None:
    with contextlib.suppress(FileFault):
        guess.read(data, "f", name)


HOSTILE = {
    "comments that never end": b"/*" * 20_000,
    "comments only": b"/* */" * 10_000,
    "blank lines": b"\n" * 50_000,
    "blanks": b" " * 50_000,
    "quotes": b'"' * 40_001,
    "backslashes in a string": b'host "' + b"\\" * 40_000,
    "brackets": b"{[" * 10_000,
    "one long line": b"1 " * 20_000,
    "hashes": b"#" * 50_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_end(data: bytes) -> None:
    """None of these may take quadratic time: the test's own time limit says so."""
    for name in ("", *guess.FORMATS):
        with contextlib.suppress(FileFault):
            guess.read(data, "f", name)
