"""dnsmasq.conf and the files that dhcp-hostsfile names."""

from __future__ import annotations

import pytest

from provisioner.dhcp.foreign import dnsmasqconf
from provisioner.dhcp.foreign.found import FoundRange, FoundReservation, FoundReservation6

ONE, TWO = bytes.fromhex("525400000001"), bytes.fromhex("525400000002")
IP, IP6 = 0x0A000005, (0xFD00 << 112) + 5
A, B = "52:54:00:00:00:01", "52:54:00:00:00:02"

HOSTS = {
    "address and name": (f"{A},10.0.0.5,node1", [(IP, ONE, "node1")]),
    "tags and a lease time": (f"{A},set:red,tag:blue,10.0.0.5,node1,12h", [(IP, ONE, "node1")]),
    "a lease without end": (f"{A},10.0.0.5,infinite", [(IP, ONE, "")]),
    "two ports of one machine": (f"{A},{B},10.0.0.5", [(IP, ONE, ""), (IP, TWO, "")]),
    "a name alone": (f"{A},node1", [(0, ONE, "node1")]),
    "another kind of hardware": ("06-1:2:3:4:5:6,10.0.0.5", [(IP, b"\6\1\2\3\4\5\6", "")]),
    "an identifier that holds the hardware address": ("id:01:52:54:00:00:00:01,10.0.0.5", [(IP, ONE, "")]),
    "hardware before identifier": (f"{A},id:*,10.0.0.5", [(IP, ONE, "")]),
    "both families": (f"{A},10.0.0.5,[fd00::5]", [(IP, ONE, "")]),
    "blanks": (f" {A} , 10.0.0.5 , node1 ", [(IP, ONE, "node1")]),
}


@pytest.mark.parametrize(("line", "found"), HOSTS.values(), ids=HOSTS.keys())
def test_hosts(line: str, found: list[tuple[int, bytes, str]]) -> None:
    wanted = [FoundReservation(ip, key, "f:2", name) for ip, key, name in found]
    contents = dnsmasqconf.read(f"# hosts\ndhcp-host={line} # why\n".encode(), "f")
    assert (contents.reservations, contents.faults) == (wanted, [])
    assert dnsmasqconf.read_hosts(f"\n{line}\n".encode(), "f").reservations == wanted


NOTES = {
    "a lease time of one host": (f"dhcp-host={A},10.0.0.5,12h", "the lease time 12h of a host is left out"),
    "an option by tag": (
        "dhcp-option=tag:red,option:router,10.0.0.9",
        "dhcp-option=tag:red,option:router,10.0.0.9: tags",
    ),
    "a boot file by tag": ("dhcp-boot = net:efi, x.efi", "dhcp-boot=net:efi, x.efi: tags are not taken over"),
    "a tag by what a client says": (
        "dhcp-match=set:efi,option:client-arch,7",
        "dhcp-match=set:efi,option:client-arch,7:",
    ),
    "a range by tag": ("dhcp-range=tag:red,10.0.0.5,10.0.0.9", "the condition of dhcp-range=tag:red,10.0.0.5,10.0.0.9"),
    "ignore": (f"dhcp-host={A},ignore", "ignore: a subnet's"),
    "a pattern": ("dhcp-host=52:54:00:*:*:*,10.0.0.5", "52:54:00:*:*:* is a pattern"),
    "no hardware address": ("dhcp-host=id:text,10.0.0.5", "dhcp-host without a hardware address"),
    "a name alone": ("dhcp-host=node1,10.0.0.5", "dhcp-host without a hardware address"),
    "nothing but the address": (f"dhcp-host={A}", "dhcp-host with neither"),
    "another file": ("conf-file=/etc/more", "conf-file /etc/more: import that, too"),
    "a folder of hosts": ("dhcp-hostsdir=/etc/hosts.d", "dhcp-hostsdir /etc/hosts.d: import that, too"),
    "ethers": ("read-ethers", "read-ethers: fixed addresses"),
    "a range of v6 that an interface completes": (
        "dhcp-range=::2,::9,constructor:eth0",
        "dhcp-range ::2 does not name",
    ),
    "a range of v6 for advertisements alone": (
        "dhcp-range=fd00::,ra-only",
        "dhcp-range fd00:: does not name both ends",
    ),
    "a range that gives no addresses": ("dhcp-range=10.0.0.0,static", "dhcp-range of mode static"),
    "an address of v6 that an interface completes": (f"dhcp-host={A},[::5],node1", "[::5]: not one whole address"),
    "addresses of v6": (f"dhcp-host={A},[fd00::8/125],node1", "[fd00::8/125]: not one whole address"),
    "v6 without anybody": ("dhcp-host=id:ab,[fd00::5]", "dhcp-host with neither a hardware address nor a DUID"),
}


@pytest.mark.parametrize(("line", "note"), NOTES.values(), ids=NOTES.keys())
def test_what_is_left_out_is_said(line: str, note: str) -> None:
    contents = dnsmasqconf.read(line.encode(), "f")
    assert contents.notes[0].text.startswith(note)
    assert contents.faults == []


SIX = {
    "by hardware address": (f"{A},[fd00::5],node1", [FoundReservation6(IP6, "f:1", ONE, b"", "node1")]),
    "by DUID": ("id:00:03:00:01:52:54,[fd00::5]", [FoundReservation6(IP6, "f:1", b"", b"\0\3\0\1RT")]),
    "by both: the port": (f"{A},id:00:03:00:01:52:54,[fd00::5]", [FoundReservation6(IP6, "f:1", ONE)]),
    "several addresses": (
        f"{A},[fd00::5],[fd00::6],10.0.0.5",
        [FoundReservation6(IP6, "f:1", ONE), FoundReservation6(IP6 + 1, "f:1", ONE)],
    ),
}


@pytest.mark.parametrize(("line", "found"), SIX.values(), ids=SIX.keys())
def test_hosts_of_v6(line: str, found: list[FoundReservation6]) -> None:
    contents = dnsmasqconf.read(f"dhcp-host={line}".encode(), "f")
    assert (contents.reservations6, contents.notes, contents.faults) == (found, [], [])
    assert [each.ip for each in contents.reservations] == [IP] * ("10.0.0.5" in line)


def test_ranges_of_v6() -> None:
    contents = dnsmasqconf.read(b"dhcp-range=tag:x,fd00::5,fd00::9,64,12h\n", "f")
    assert contents.ranges == [FoundRange(IP6, IP6 + 4, "f:1", six=True)]


RANGES = {
    "a tag that is set": "set:x,10.0.0.5,10.0.0.9,255.255.255.0,12h",
    "a bare tag, which is set": "red,10.0.0.5,10.0.0.9,1h",
    "a tag of an older dnsmasq": "net:x,10.0.0.5,10.0.0.9",
    "conditions, and a tag that is set": "tag:a,tag:!b,set:x,10.0.0.5,10.0.0.9",
    "an interface": "interface:br0,10.0.0.5,10.0.0.9",
    "the wrong way round": "10.0.0.9,10.0.0.5",
}


@pytest.mark.parametrize("value", RANGES.values(), ids=RANGES.keys())
def test_ranges(value: str) -> None:
    contents = dnsmasqconf.read(f"dhcp-range={value}\ninterface=br0\n".encode(), "f")
    assert (contents.ranges, contents.faults) == ([FoundRange(IP, IP + 4, "f:1")], [])


def test_what_is_for_all_clients_is_the_subnets_and_is_not_told() -> None:
    text = (
        "dhcp-option=option:router,10.0.0.1\ndhcp-boot=x.efi\ndhcp-range=set:red,10.0.0.5,10.0.0.9\ndhcp-authoritative"
    )
    assert dnsmasqconf.read(text.encode(), "f").notes == []


FAULTS = {
    "an address that is none": (f"dhcp-host={A},10.0.0.500", "f:1: Octet 500"),
    "a range with one end": ("\ndhcp-range=10.0.0.5", "f:2: dhcp-range has two addresses"),
    "a range of a tag alone": ("dhcp-range=red", "f:1: dhcp-range has two addresses"),
    "a hardware type that is none": (f"dhcp-host=0-{A},10.0.0.5", ""),
    "an identifier that is none": (f"dhcp-host=id:zz:1,{A}", "f:1: invalid literal"),
}


@pytest.mark.parametrize(("line", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_name_the_line(line: str, fault: str) -> None:
    contents = dnsmasqconf.read(line.encode(), "f")
    assert "".join(contents.faults).startswith(fault)
