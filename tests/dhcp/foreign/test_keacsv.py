"""kea-leases4.csv, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.dhcp.foreign import keacsv
from provisioner.dhcp.foreign.found import FOR_EVER, FileFault, FoundLease, Was

KEY = bytes.fromhex("525400000001")
IP = 0x0A000005
HEADER = ",".join(keacsv.COLUMNS)
PLAIN = "10.0.0.5,52:54:00:00:00:01,01:52:54:00:00:00:01,3600,1795672800,1,0,0,node1,0,"
LEASE = FoundLease(IP, KEY, "f:2", 1795672800.0, 1795669200.0, name="node1", client_id=b"\1" + KEY)

ROWS = {
    "a lease": (PLAIN, LEASE),
    "a name with its domain": (PLAIN.replace("node1", "node1.example.org."), LEASE),
    "a name with a comma": (PLAIN.replace("node1", "a&#x2cb"), LEASE._replace(name="a,b")),
    "no identifier": (PLAIN.replace("01:52:54:00:00:00:01", ""), LEASE._replace(client_id=b"")),
    "the hardware address from the identifier": (PLAIN.replace(",52:54:00:00:00:01,", ",,", 1), LEASE),
    "no end": (PLAIN.replace("3600", "4294967295"), LEASE._replace(until=FOR_EVER, since=0.0)),
    "declined": (
        "10.0.0.5,,,86400,1795672800,1,0,0,,1,",
        FoundLease(IP, b"\1", "f:2", 1795672800.0, 1795586400.0, Was.DECLINED)._replace(key=b""),
    ),
    "reclaimed": (PLAIN.replace("node1,0", "node1,2"), LEASE._replace(was=Was.RELEASED)),
    "released": (PLAIN.replace("node1,0", "node1,3"), LEASE._replace(was=Was.RELEASED)),
    "a switch port in the context": (
        PLAIN + '{ "ISC": { "relay-agent-info": { "sub-options": "0x0104676531310202ab01" } } }',
        LEASE._replace(circuit_id=b"ge11", remote_id=b"\xab\1"),
    ),
    "a switch port as older versions write it": (
        PLAIN + '{ "ISC": { "relay-agent-info": "0x010467653131" } }',
        LEASE._replace(circuit_id=b"ge11"),
    ),
    "somebody's own context": (PLAIN + '{ "x": [1&#x2c2] }', LEASE),
    "a context that is none": (PLAIN + "{{{", LEASE),
    "a carriage return": (PLAIN + "\r", LEASE),
}


@pytest.mark.parametrize(("row", "lease"), ROWS.values(), ids=ROWS.keys())
def test_rows(row: str, lease: FoundLease) -> None:
    contents = keacsv.read(f"{HEADER}\n{row}\n".encode(), "f")
    assert (list(contents.leases.values()), contents.faults) == ([lease], [])


def test_the_last_row_counts_and_a_life_of_nothing_ends_a_lease() -> None:
    other = PLAIN.replace("10.0.0.5", "10.0.0.6")
    text = "\n".join((HEADER, PLAIN, other, PLAIN.replace("node1", "node2"), other.replace("3600", "0")))
    contents = keacsv.read(text.encode(), "f")
    assert [(lease.name, lease.was) for lease in contents.leases.values()] == [
        ("node2", Was.ACTIVE),
        ("node1", Was.RELEASED),
    ]


def test_columns_go_by_their_names() -> None:
    header = "address,hwaddr,client_id,valid_lifetime,expire,state,hostname,pool_id"
    text = f"{header}\n10.0.0.5,,01:52:54:00:00:00:01,9,10,0,x,7\n"
    (lease,) = keacsv.read(text.encode(), "f").leases.values()
    assert (lease.until, lease.since, lease.name, lease.key) == (10.0, 1.0, "x", KEY)


FAULTS = {
    "too few values": ("10.0.0.5,52:54:00:00:00:01", "2 values, and 11 columns"),
    "too many values": (PLAIN + ",,,", "14 values, and 11 columns"),
    "an address that is none": (PLAIN.replace("10.0.0.5", "10.0.0"), "Expected 4 octets"),
    "hardware that is none": (PLAIN.replace("52:54", "52:zz", 1), "invalid literal"),
    "a time that is none": (PLAIN.replace("1795672800", "soon"), "invalid literal"),
    "a state that is none": (PLAIN.replace("node1,0", "node1,9"), "state '9' is unknown"),
}


@pytest.mark.parametrize(("row", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_name_the_line_and_the_rest_is_read(row: str, fault: str) -> None:
    contents = keacsv.read(f"{HEADER}\n{PLAIN.replace('.5', '.6')}\n{row}\n".encode(), "f")
    assert len(contents.faults) == 1
    assert contents.faults[0].startswith(f"f:3: {fault}")
    assert len(contents.leases) == 1


def test_a_header_without_what_is_needed() -> None:
    with pytest.raises(FileFault, match="f:1: no column expire"):
        keacsv.read(b"address,hwaddr,client_id,valid_lifetime\n", "f")


@given(st.text(st.characters(codec="utf-8")))
def test_escapes_are_undone(text: str) -> None:
    escaped = keacsv.escape(text)
    assert keacsv.unescape(escaped) == text
    assert not set(escaped) & set(",\r\n")


rows = st.builds(
    keacsv.Row,
    ip=st.integers(1, 2**32 - 1),
    mac=st.binary(min_size=6, max_size=6),
    client_id=st.binary(max_size=20),
    since=st.integers(0, 2**31).map(float),
    until=st.integers(2**31 + 1, 2**32).map(float),
    subnet_id=st.integers(1, 99),
    name=st.text(
        st.characters(codec="ascii", min_codepoint=33, max_codepoint=126, exclude_characters="."), max_size=60
    ).map(str.lower),
    declined=st.just(False),
)


@settings(max_examples=50)
@given(st.lists(rows, max_size=5, unique_by=lambda row: row.ip))
def test_what_is_written_is_read(found: list[keacsv.Row]) -> None:
    contents = keacsv.read("".join(keacsv.write(found)).encode(), "f")
    assert contents.faults == []
    for row, lease in zip(found, contents.leases.values(), strict=True):
        assert (lease.ip, lease.key, lease.client_id, lease.name) == (row.ip, row.mac, row.client_id, row.name)
        assert (lease.until, lease.was) == (min(row.until, FOR_EVER), Was.ACTIVE)


def test_a_declined_address_is_written_without_a_holder() -> None:
    row = keacsv.Row(IP, KEY, b"\1", 0.0, 99.0, 1, "x", declined=True)
    assert list(keacsv.write([row]))[1] == "10.0.0.5,,,99,99,1,0,0,,1,\n"
