"""kea-leases6.csv."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.dhcp.foreign import keacsv6
from provisioner.dhcp.foreign.found import FOR_EVER, FileFault, FoundLease6, Was

HEADER = ",".join(keacsv6.COLUMNS)
IP = (0xFD00 << 112) + 5
DUID = bytes.fromhex("00030001525400000001")
PLAIN = "fd00::5,00:03:00:01:52:54:00:00:00:01,3600,1795672800,1,2250,0,7,128,0,0,node1.example,,0,,,"
LEASE = FoundLease6(IP, DUID, 7, "f:2", 1795672800.0, 1795669200.0, name="node1")

ROWS = {
    "a lease": (PLAIN, LEASE),
    "with a hardware address, which may have been guessed": (
        PLAIN.replace(",,0,,,", ",52:54:00:00:00:02,0,,1,2"),
        LEASE,
    ),
    "no end": (
        PLAIN.replace("3600,1795672800", f"{0xFFFFFFFF},{0xFFFFFFFF}"),
        LEASE._replace(until=FOR_EVER, since=0.0),
    ),
    "declined": (PLAIN.replace(",0,,,", ",1,,,"), LEASE._replace(was=Was.DECLINED)),
    "reclaimed": (PLAIN.replace(",0,,,", ",2,,,"), LEASE._replace(was=Was.RELEASED)),
    "a life of nothing": (PLAIN.replace(",3600,", ",0,"), LEASE._replace(since=1795672800.0, was=Was.RELEASED)),
    "of a later Kea": (PLAIN + ",0", LEASE),
}


@pytest.mark.parametrize(("row", "lease"), ROWS.values(), ids=ROWS.keys())
def test_rows(row: str, lease: FoundLease6) -> None:
    contents = keacsv6.read(f"{HEADER},pool_id\n{row}\n".encode(), "f")
    assert (list(contents.leases6.values()), contents.faults) == ([lease], [])


def test_the_last_row_counts() -> None:
    contents = keacsv6.read(f"{HEADER}\n{PLAIN}\n{PLAIN.replace('node1', 'node2')}\n".encode(), "f")
    assert [lease.name for lease in contents.leases6.values()] == ["node2"]


LEFT_OUT = {"a temporary address": PLAIN.replace(",0,7,", ",1,7,"), "a prefix": PLAIN.replace(",0,7,", ",2,7,")}


@pytest.mark.parametrize(("what", "row"), LEFT_OUT.items(), ids=LEFT_OUT.keys())
def test_what_is_not_given_here_is_said(what: str, row: str) -> None:
    contents = keacsv6.read(f"{HEADER}\n{row}\n".encode(), "f")
    assert contents.leases6 == {}
    assert [note.text for note in contents.notes] == [f"fd00::5 is {what}, and those are not given here"]


FAULTS = {
    "an address of IPv4": (PLAIN.replace("fd00::5", "10.0.0.5"), "f:2: "),
    "a DUID that is none": (PLAIN.replace("00:03:00:01:52:54:00:00:00:01", "00"), "f:2: a DUID of 1 octets"),
    "a number that is none": (PLAIN.replace(",7,", ",-1,"), "f:2: '-1' is no number of an association"),
    "a state that is none": (PLAIN.replace(",0,,,", ",9,,,"), "f:2: state '9' is unknown"),
    "too few values": ("fd00::5,00:03:00", "f:2: 2 values, and 17 columns"),
}


@pytest.mark.parametrize(("row", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_name_the_line(row: str, fault: str) -> None:
    (found,) = keacsv6.read(f"{HEADER}\n{row}\n".encode(), "f").faults
    assert found.startswith(fault)


def test_a_header_without_what_is_needed() -> None:
    with pytest.raises(FileFault, match="f:1: no column iaid"):
        keacsv6.read(b"address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type\n", "f")


rows = st.builds(
    keacsv6.Row6,
    ip=st.integers(1 << 120, 2**128 - 1),
    duid=st.binary(min_size=3, max_size=20),
    iaid=st.integers(0, 2**32 - 1),
    since=st.integers(0, 2**31).map(float),
    until=st.integers(2**31 + 1, 2**32).map(float),
    subnet_id=st.integers(1, 99),
    declined=st.just(False),
    name=st.text(
        st.characters(codec="ascii", min_codepoint=33, max_codepoint=126, exclude_characters="."), max_size=60
    ).map(str.lower),
)


@settings(max_examples=50)
@given(st.lists(rows, max_size=5, unique_by=lambda row: row.ip))
def test_what_is_written_is_read(found: list[keacsv6.Row6]) -> None:
    contents = keacsv6.read("".join(keacsv6.write(found)).encode(), "f")
    assert contents.faults == []
    for row, lease in zip(found, contents.leases6.values(), strict=True):
        assert (lease.ip, lease.duid, lease.iaid, lease.name) == (row.ip, row.duid, row.iaid, row.name)
        assert (lease.until, lease.was) == (min(row.until, FOR_EVER), Was.ACTIVE)


def test_a_declined_address_is_written_without_a_holder() -> None:
    row = keacsv6.Row6(IP, DUID, 7, 0.0, 99.0, 1, "x", declined=True)
    assert list(keacsv6.write([row]))[1] == "fd00::5,00:00:00,99,99,1,99,0,0,128,0,0,,,1,,,\n"
