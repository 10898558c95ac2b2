"""dhcpd.conf: hosts wherever they stand."""

from __future__ import annotations

import pytest

from provisioner.dhcp.foreign import iscconf
from provisioner.dhcp.foreign.found import FoundRange, FoundReservation, FoundReservation6
from provisioner.dhcp.foreign.hostoptions import BOOTS

ONE, TWO = bytes.fromhex("525400000001"), bytes.fromhex("525400000002")
IP, IP6 = 0x0A000005, (0xFD00 << 112) + 5

CONF = r"""
# a site
option domain-name "example.org";
include "/etc/dhcp/more.conf";
class "pxe" { match if substring(option vendor-class-identifier, 0, 9) = "PXEClient"; }
if option arch = 00:07 { filename "snponly.efi"; } elsif option arch = 00:00 { filename "undionly.kpxe"; } else { }
shared-network racks {
  subnet 10.0.0.0 netmask 255.255.255.0 {
    range 10.0.0.100 10.0.0.199;
    pool { allow unknown-clients; range dynamic-bootp 10.0.0.210 10.0.0.205; range 10.0.0.220; }
    host one { hardware ethernet 52:54:00:00:00:01; fixed-address 10.0.0.5; }
  }
}
group {
  use-host-decl-names on;
  group { host two { hardware ethernet 52:54:0:0:0:2; fixed-address 10.0.0.6, 10.0.1.6; filename "x"; } }
  host three { option host-name "drei"; hardware ethernet 52:54:00:00:00:01; }
}
host four { option dhcp-client-identifier 1:52:54:0:0:0:1; fixed-address 10.0.0.7; }
host five { option dhcp-client-identifier "text"; fixed-address 10.0.0.8; }
host six { hardware ethernet 52:54:00:00:00:01; }
host seven { hardware ethernet 52:54:00:00:00:01; fixed-address seven.example.org; }
subnet6 fd00::/64 { range6 fd00::5 fd00::8; range6 fd00::10/124; range6 fd00::/64 temporary;
  prefix6 fd00:1:: fd00:2:: /64;
  host acht { host-identifier option dhcp6.client-id 0:3:0:1:52:54:0:0:0:1; fixed-address6 fd00::5; }
  host neun { hardware ethernet 52:54:00:00:00:02; fixed-address6 fd00::6; fixed-address 10.0.0.9; }
  host zehn { fixed-address6 fd00::7; }
}
"""


def test_a_configuration() -> None:
    contents = iscconf.read(CONF.encode(), "f")
    assert contents.faults == []
    assert contents.reservations == [
        FoundReservation(IP, ONE, "f:11"),
        FoundReservation(IP + 1, TWO, "f:16", "two"),
        FoundReservation(IP + 0x101, TWO, "f:16", "two"),
        FoundReservation(0, ONE, "f:17", "drei"),
        FoundReservation(IP + 2, ONE, "f:19"),
        FoundReservation(IP + 4, TWO, "f:26"),
    ]
    assert contents.reservations6 == [
        FoundReservation6(IP6, "f:25", b"", b"\0\3\0\1" + ONE),
        FoundReservation6(IP6 + 1, "f:26", TWO),
    ]
    assert contents.ranges == [
        FoundRange(IP + 95, IP + 194, "f:9"),
        FoundRange(IP + 200, IP + 205, "f:10"),
        FoundRange(IP + 215, IP + 215, "f:10"),
        FoundRange(IP6, IP6 + 3, "f:23", six=True),
        FoundRange(IP6 + 11, IP6 + 26, "f:23", six=True),
    ]
    assert [(note.where, note.text) for note in contents.notes] == [
        ("f:4", "includes '/etc/dhcp/more.conf': import that file, too"),
        ("f:5", f"`class pxe`: {iscconf.NO_CLASSES}"),
        ("f:6", f"`if option arch = 00:07`: {iscconf.NO_CLASSES}"),
        ("f:10", "`allow unknown-clients`: `unknown` and `mode` of a subnet say who gets addresses here"),
        ("f:16", f"host two: `filename x` is left out: {BOOTS}"),
        ("f:20", "host five names no hardware address, and machines are known by theirs"),
        ("f:21", "host six has neither an address nor a name, nor options that are taken over"),
        ("f:22", "fixed-address seven.example.org is a name, whose address this file does not say"),
        ("f:22", "host seven has neither an address nor a name, nor options that are taken over"),
        ("f:24", "prefix6: prefixes are not given here"),
        ("f:27", "host zehn names neither a hardware address nor a DUID for its address"),
    ]


WHO = "hardware ethernet 52:54:00:00:00:01; fixed-address 10.0.0.5;"
OPTIONS = {
    "of a host": (f"host a {{ {WHO} option routers 10.0.0.8, 10.0.0.9; }}", (("routers", "10.0.0.8,10.0.0.9"),)),
    "a text": (f'host a {{ {WHO} option root-path "a, b"; }}', (("root-path", "a, b"),)),
    "names": (f'host a {{ {WHO} option domain-search "a", "b"; }}', (("domain-search", "a,b"),)),
    "of its groups, its own first": (
        f'group {{ option domain-name "o"; option routers 10.0.0.1; group {{ option ntp-servers 10.0.0.3;'
        f"host a {{ {WHO} option routers 10.0.0.9; }} }} }}",
        (("domain-name", "o"), ("routers", "10.0.0.9"), ("ntp-servers", "10.0.0.3")),
    ),
    "of no group beside it": (f"group {{ option routers 10.0.0.1; }} host a {{ {WHO} }}", ()),
    "of no subnet, whose they stay": (f"subnet 10.0.0.0 {{ option routers 10.0.0.1; host a {{ {WHO} }} }}", ()),
}


@pytest.mark.parametrize(("text", "options"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options_of_hosts_are_taken_over(text: str, options: tuple[tuple[str, str], ...]) -> None:
    contents = iscconf.read(text.encode(), "f")
    assert (contents.faults, contents.notes) == ([], [])
    assert contents.reservations == [FoundReservation(IP, ONE, "f:1", "", options)]


LEFT_OUT = {
    "a boot file": ('filename "x";', "f:2: host a: `filename x` is left out: what a machine boots"),
    "where to boot from": ("next-server 10.0.0.9;", "f:2: host a: `next-server 10.0.0.9` is left out: what a machine"),
    "an option of ours that is no constant": (
        'option root-path = concat("a", "b");',
        "f:2: host a: `option root-path = concat( a , b )` is left out: one string",
    ),
    "an option that we have no word for": (
        'option nis-domain "x";',
        "f:2: host a: `option nis-domain x` is left out: t",
    ),
    "a name where an address belongs": (
        "option routers gw;",
        "f:2: host a: `option routers gw` is left out: 'gw' cannot",
    ),
    "another statement": (
        "max-lease-time 60;",
        "f:2: host a: `max-lease-time 60` is left out: there is nothing like it",
    ),
}


@pytest.mark.parametrize(("text", "note"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_what_is_left_out_of_a_host_is_said_with_its_place(text: str, note: str) -> None:
    contents = iscconf.read(f"host a {{ {WHO}\n{text} }}".encode(), "f")
    assert [f"{each.where}: {each.text}"[: len(note)] for each in contents.notes] == [note]
    assert contents.reservations == [FoundReservation(IP, ONE, "f:1")]


ELSEWHERE = {
    "a subclass": ('subclass "allow" 1:52:54:00:00:00:01;', "`subclass allow 1:52:54:00:00:00:01`: classes"),
    "who gets addresses": ('subnet 10.0.0.0 { pool { deny members of "x"; } }', "`deny members of x`: `unknown` and"),
    "a group's boot file, once": (
        f'group {{ filename "x"; host a {{ {WHO} }} host b {{ {WHO} }} }}',
        "group: `filename",
    ),
}


@pytest.mark.parametrize(("text", "note"), ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_what_is_left_out_elsewhere(text: str, note: str) -> None:
    assert [each.text[: len(note)] for each in iscconf.read(text.encode(), "f").notes] == [note]


def test_what_is_served_at_all_is_not_told() -> None:
    assert iscconf.read(b"allow booting; allow bootp; deny declines; ddns-update-style none;", "f").notes == []


FAULTS = {
    "an octet too long": ("\nhost a { hardware ethernet 525:4; }", "f:2: '525' is no octet"),
    "no hardware type": ("host a { hardware; }", "f:1: hardware type '' is unknown"),
    "a range of three": (
        "subnet 10.0.0.0 netmask 255.0.0.0 {\n range 1 2 3; }",
        "f:2: a range has one or two addresses",
    ),
    "a DUID that is none": ("host a { host-identifier option dhcp6.client-id 1; }", "f:1: a DUID of 1 octets"),
    "a range of words": ("range a b;", "f:1: Expected 4 octets in 'a'"),
    "a file that ends within": ("subnet 10.0.0.0 {", "f:1: the file ends within 'subnet 10.0.0.0'"),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_name_the_line(text: str, fault: str) -> None:
    assert iscconf.read(text.encode(), "f").faults == [fault]
