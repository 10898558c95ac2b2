"""dhcpd.leases: every statement, every escape, every state; the last word on an address counts."""

from __future__ import annotations

import pytest

from provisioner.dhcp.foreign import iscleases
from provisioner.dhcp.foreign.found import (
    FAULTS_LIMIT,
    FOR_EVER,
    FileFault,
    FoundLease,
    FoundLease6,
    FoundReservation,
    Was,
)

KEY = bytes.fromhex("525400000001")
IP = 0x0A000005


def read(text: str) -> list[FoundLease]:
    contents = iscleases.read(text.encode("latin-1"), "f")
    assert contents.faults == []
    return list(contents.leases.values())


def lease(*statements: str) -> str:
    return "lease 10.0.0.5 {\n  " + "\n  ".join(statements) + "\n}\n"


STATEMENTS = {
    "times in UTC": (
        ("starts 4 2026/11/26 05:00:00;", "ends 4 2026/11/26 06:00:00;", "hardware ethernet 52:54:00:00:00:01;"),
        {"since": 1795669200.0, "until": 1795672800.0, "key": KEY},
    ),
    "times since the epoch, with dhcpd's comment": (
        ("starts epoch 1795669200; # Thu Nov 26 05:00:00 2026", "ends epoch 1795672800;"),
        {"since": 1795669200.0, "until": 1795672800.0},
    ),
    "no end": (("ends never;",), {"until": FOR_EVER}),
    "an identifier with octal escapes": (
        (r'uid "\001RT\000\000\000\001";',),
        {"client_id": b"\1RT\0\0\0\1", "key": KEY},
    ),
    "an identifier with escaped quotes and backslashes": ((r'uid "a\"b\\c\$";',), {"client_id": b'a"b\\c$'}),
    "an identifier with braces and semicolons": (('uid "};{#";',), {"client_id": b"};{#"}),
    "an identifier in hex": (("uid ff:52:54:0:0:0:1;",), {"client_id": b"\xffRT\0\0\0\1"}),
    "a host name": (('client-hostname "node\\0551";',), {"name": "node-1"}),
    "a host name that nobody should print": (('client-hostname "a\\033[2J b";',), {"name": "a?[2J?b"}),
    "another kind of hardware": (("hardware token-ring 1:2:3:4:5:6;",), {"key": b"\6\1\2\3\4\5\6"}),
    "hardware that dhcpd has no name for": (("hardware unknown-24 00:11;",), {"key": b"\x18\0\x11"}),
    "active": (("binding state active;", "next binding state free;"), {"was": Was.ACTIVE}),
    "free": (("binding state free;",), {"was": Was.RELEASED}),
    "expired": (("binding state expired;",), {"was": Was.RELEASED}),
    "released": (("binding state released;",), {"was": Was.RELEASED}),
    "backup of a failover pair": (("binding state backup;",), {"was": Was.RELEASED}),
    "abandoned": (("binding state abandoned;",), {"was": Was.DECLINED}),
    "abandoned, as old versions say it": (("abandoned;",), {"was": Was.DECLINED}),
    "bootp": (("binding state bootp;",), {"was": Was.ACTIVE}),
    "a switch port": (
        ('option agent.circuit-id "ge-0/0/1";', "option agent.remote-id ab:1;"),
        {"circuit_id": b"ge-0/0/1", "remote_id": b"\xab\1"},
    ),
    "statements that say nothing to us": (
        (
            'set vendor-class-identifier = "PXEClient";',
            "cltt 4 2026/11/26 05:00:00;",
            "reserved;",
            "rewind binding state free;",
            'on commit {\n set x = "}"; }',
            "ddns-fwd-name x.example;",
        ),
        {},
    ),
}


@pytest.mark.parametrize(("statements", "says"), STATEMENTS.values(), ids=STATEMENTS.keys())
def test_statements(statements: tuple[str, ...], says: dict[str, object]) -> None:
    (found,) = read(lease(*statements))
    assert found == FoundLease(IP, b"", "f:1", FOR_EVER)._replace(**says)


def test_the_last_word_on_an_address_counts() -> None:
    text = lease("hardware ethernet 52:54:00:00:00:01;") + lease("hardware ethernet 52:54:00:00:00:02;")
    (found,) = read(text)
    assert (found.key[-1], found.where) == (2, "f:4")


def test_hosts_of_omapi_come_and_go() -> None:
    text = """
host a { dynamic; hardware ethernet 52:54:00:00:00:01; fixed-address 10.0.0.5; }
host b { dynamic; hardware ethernet 52:54:00:00:00:02; fixed-address 10.0.0.6; option host-name "bee"; }
host a { dynamic; deleted; }
"""
    contents = iscleases.read(text.encode(), "f")
    assert contents.reservations == [FoundReservation(IP + 1, KEY[:5] + b"\2", "f:3", "bee")]


SIX = r"""
authoring-byte-order little-endian;
server-duid "\000\001\000\001\061\222";
ia-na "\007\000\000\000\000\003\000\001RT\000\000\000\001" {
  cltt 4 2026/11/26 05:00:00;
  iaaddr fd00::5 {
    binding state active;
    preferred-life 2250;
    max-life 3600;
    ends 4 2026/11/26 06:00:00;
    set vendor-class-identifier = "x";
  }
  iaaddr fd00::6 { binding state expired; ends 4 2026/11/26 05:30:00; }
}
ia-na "\007\000\000\000\000\003\000\001RT\000\000\000\001" { iaaddr fd00::7 { binding state abandoned; ends never; } }
ia-pd "\007\000\000\000\000\003\000\001RT\000\000\000\001" { iaprefix fd01::/64 { binding state active; } }
"""


def test_leases_of_v6() -> None:
    contents, start, duid = iscleases.read(SIX.encode(), "f"), 0xFD00 << 112, b"\0\3\0\1" + KEY
    assert (contents.leases, contents.faults) == ({}, [])
    assert list(contents.leases6.values()) == [
        FoundLease6(start + 5, duid, 7, "f:6", 1795672800.0, 1795669200.0),
        FoundLease6(start + 6, duid, 7, "f:13", 1795671000.0, 1795669200.0, Was.RELEASED),
        FoundLease6(start + 7, duid, 7, "f:15", FOR_EVER, 0.0, Was.DECLINED),
    ]
    assert [note.text for note in contents.notes] == ["1 temporary addresses and prefixes of DHCPv6 are left out"]


def test_numbers_of_associations_are_in_the_order_of_the_machine_that_wrote_them() -> None:
    text = SIX.replace("little", "big").replace(r'"\007\000\000\000', r'"\000\000\000\007')
    assert {lease.iaid for lease in iscleases.read(text.encode(), "f").leases6.values()} == {7}


FAULTS6 = {
    "no DUID": (r'ia-na "\007\000\000\000" { }', "f:1: a DUID of 0 octets"),
    "an address that is none": ('ia-na "123400030001" { iaaddr x { } }', "f:1: "),
    "a state that is none": (
        'ia-na "123400030001" { iaaddr fd00::1 { binding state odd; } }',
        "f:1: binding state 'odd'",
    ),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS6.values(), ids=FAULTS6.keys())
def test_faults_of_v6_name_the_line(text: str, fault: str) -> None:
    (found,) = iscleases.read(text.encode(), "f").faults
    assert found.startswith(fault)


FAULTS = {
    "no address": ("lease ten {\n}\n", "f:1: Expected 4 octets in 'ten'"),
    "a time that is none": ("\n" + lease("ends 4 2026/13/26 05:00:00;"), "f:2: "),
    "a state that is none": (lease("binding state odd;"), "f:1: binding state 'odd' is unknown"),
    "an octet that is none": (lease("hardware ethernet 52:54:zz:00:00:01;"), "f:1: invalid literal"),
    "no address at all": (lease("hardware ethernet;"), "f:1: '' is no octet"),
    "a file that was cut off": (
        "lease 10.0.0.6 {\n}\nlease 10.0.0.5 {\n  starts",
        "f:3: the file ends within 'lease 10.0.0.5'",
    ),
    "cut off in a statement": ("lease 10.0.0.6 {\n}\nlease", "f:3: the file ends within a statement"),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_name_the_line_and_the_rest_is_read(text: str, fault: str) -> None:
    contents = iscleases.read(
        text.encode() if "6 {" in text else (text + lease()).encode().replace(b".5", b".6", 0), "f"
    )
    assert len(contents.faults) == 1
    assert contents.faults[0].startswith(fault)
    assert len(contents.leases) == 1


BROKEN = {
    "a block that was never begun": ("}", "f:1: a block ends that was never begun"),
    "a string without an end": ('\nlease 10.0.0.5 { uid "abc; }', "f:2: a string is not closed"),
    "no semicolon": ("lease 10.0.0.5 { starts }", "f:1: no semicolon after 'starts'"),
    "blocks in blocks": ("a {" * 40, "f:1: blocks nest deeper than 32"),
}


@pytest.mark.parametrize(("text", "fault"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_structure(text: str, fault: str) -> None:
    with pytest.raises(FileFault, match=fault):
        iscleases.read(text.encode(), "f")


def test_a_file_of_faults_only_is_given_up() -> None:
    with pytest.raises(FileFault, match=f"{FAULTS_LIMIT} lines cannot be read"):
        iscleases.read(b"lease x { }\n" * (FAULTS_LIMIT + 5), "f")
