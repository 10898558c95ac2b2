"""dnsmasq.leases."""

from __future__ import annotations

import pytest

from provisioner.dhcp.foreign import dnsmasqleases
from provisioner.dhcp.foreign.found import FOR_EVER, FoundLease, FoundLease6

KEY = bytes.fromhex("525400000001")
IP = 0x0A000005

LINES = {
    "a lease": (
        "1795672800 52:54:00:00:00:01 10.0.0.5 node1 01:52:54:00:00:00:01",
        FoundLease(IP, KEY, "f:1", 1795672800.0, name="node1", client_id=b"\1RT\0\0\0\1"),
    ),
    "no name, no identifier": (
        "1795672800 52:54:00:00:00:01 10.0.0.5 * *",
        FoundLease(IP, KEY, "f:1", 1795672800.0),
    ),
    "no end": ("0 52:54:00:00:00:01 10.0.0.5 * *", FoundLease(IP, KEY, "f:1", FOR_EVER)),
    "another kind of hardware": (
        "1795672800 06-52:54:00:00:00:01 10.0.0.5 * *",
        FoundLease(IP, b"\6" + KEY, "f:1", 1795672800.0),
    ),
}


@pytest.mark.parametrize(("line", "lease"), LINES.values(), ids=LINES.keys())
def test_lines(line: str, lease: FoundLease) -> None:
    contents = dnsmasqleases.read(line.encode() + b"\n", "f")
    assert (list(contents.leases.values()), contents.faults) == ([lease], [])


def test_those_of_v6_stand_behind_the_server_s_own_duid() -> None:
    lines = (
        *(LINES["a lease"][0], "duid 00:01:00:01"),
        *("1795672800 1193047 fd00::5 node1 00:03:00:01:52:54:00:00:00:01", "0 4294967295 fd00::6 * 00:04:00"),
        *("1795672800 T1193047 fd00::7 node1 00:03:00:01:52:54:00:00:00:01",),
    )
    contents = dnsmasqleases.read("\n".join(lines).encode(), "f")
    assert (len(contents.leases), contents.faults) == (1, [])
    assert list(contents.leases6.values()) == [
        FoundLease6((0xFD00 << 112) + 5, b"\0\3\0\1" + KEY, 1193047, "f:3", 1795672800.0, name="node1"),
        FoundLease6((0xFD00 << 112) + 6, b"\0\4\0", 0xFFFFFFFF, "f:4", FOR_EVER),
    ]
    assert [note.text[:21] for note in contents.notes] == ["1 temporary addresses"]


FAULTS6 = {
    "a number that is none": ("1 x fd00::5 * 00:03:00", "f:2: 'x' is no number of an association"),
    "a number too large": ("1 4294967296 fd00::5 * 00:03:00", "f:2: '4294967296' is no number"),
    "no DUID": ("1 7 fd00::5 * 00", "f:2: a DUID of 1 octets"),
    "an address of IPv4": ("1 7 10.0.0.5 * 00:03:00", "f:2: "),
    "too few fields": ("1 7 fd00::5 *", "f:2: 4 fields instead of 5"),
}


@pytest.mark.parametrize(("line", "fault"), FAULTS6.values(), ids=FAULTS6.keys())
def test_faults_of_v6_name_the_line(line: str, fault: str) -> None:
    (found,) = dnsmasqleases.read(f"duid 00:01:00\n{line}\n".encode(), "f").faults
    assert found.startswith(fault)


FAULTS = {
    "too few fields": ("1795672800 52:54:00:00:00:01 10.0.0.5 *", "f:2: 4 fields instead of 5"),
    "a time that is none": ("soon 52:54:00:00:00:01 10.0.0.5 * *", "f:2: 'soon' is no time"),
    "a time that no clock shows": (f"{'9' * 20} 52:54:00:00:00:01 10.0.0.5 * *", "f:2: '999"),
    "an address that is none": ("1 52:54:00:00:00:01 10.0.0 * *", "f:2: Expected 4 octets"),
    "hardware that is none": ("1 52:54:xx:00:00:01 10.0.0.5 * *", "f:2: invalid literal"),
    "a hardware type that is none": ("1 zz-52:54:00:00:00:01 10.0.0.5 * *", "f:2: invalid literal"),
    "a hardware type too large": ("1 fff-52:54:00:00:00:01 10.0.0.5 * *", "f:2: "),
}


@pytest.mark.parametrize(("line", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_name_the_line_and_the_rest_is_read(line: str, fault: str) -> None:
    contents = dnsmasqleases.read(f"{LINES['a lease'][0].replace('.5', '.6')}\n{line}\n".encode(), "f")
    assert len(contents.faults) == 1
    assert contents.faults[0].startswith(fault)
    assert len(contents.leases) == 1
