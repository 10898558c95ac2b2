"""dhcpd.conf: hosts wherever they stand."""

from __future__ import annotations

import pytest

from provisioner.dhcp.foreign import iscconf
from provisioner.dhcp.foreign.found import FoundRange, FoundReservation, FoundReservation6

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
        ("f:20", "host five names no hardware address, and machines are known by theirs"),
        ("f:21", "host six has neither an address nor a name"),
        ("f:22", "fixed-address seven.example.org is a name, whose address this file does not say"),
        ("f:22", "host seven has neither an address nor a name"),
        ("f:24", "prefix6: prefixes are not given here"),
        ("f:27", "host zehn names neither a hardware address nor a DUID for its address"),
    ]


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
