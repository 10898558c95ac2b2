"""kea-dhcp4.conf: reservations wherever they stand."""

from __future__ import annotations

import pytest

from provisioner.dhcp.foreign import keaconf
from provisioner.dhcp.foreign.found import FileFault, FoundRange, FoundReservation, FoundReservation6

ONE, TWO = bytes.fromhex("525400000001"), bytes.fromhex("525400000002")
IP = 0x0A000005

CONF = """
// the server
{ "Dhcp4": {
  "reservations": [ { "hw-address": "52:54:00:00:00:01", "hostname": "node1.example.org" } ],  # global
  "subnet4": [ { "id": 1, "subnet": "10.0.0.0/24",
    "pools": [ { "pool": "10.0.0.100 - 10.0.0.199" }, { "pool": "10.0.0.208/28" } ],
    "reservations": [
      { "hw-address": "52-54-00-00-00-02", "ip-address": "10.0.0.5", "hostname": "node2" },
      /* the same machine, by identifier */
      { "client-id": "01:52:54:00:00:00:01", "ip-address": "10.0.0.6" },
      { "client-id": "'text'", "ip-address": "10.0.0.7" },
      { "circuit-id": "'ge-0/0/1'", "ip-address": "10.0.0.8" },
      { "duid": "00:01", "ip-address": "10.0.0.9" },
      { "hw-address": "52:54:00:00:00:01", "next-server": "10.0.0.1" },
    ] } ],
  "shared-networks": [ { "name": "x", "reservations": [], "subnet4": [ { "subnet": "10.0.1.0/24",
    "reservations": [ { "hw-address": "52:54:00:00:00:01", "ip-address": "10.0.1.5" } ] } ] } ],
  <?include "/etc/kea/more.json"?>
} }
"""


def test_a_configuration() -> None:
    contents = keaconf.read(CONF.encode(), "f")
    assert contents.faults == []
    assert contents.reservations == [
        FoundReservation(0, ONE, "f:4", "node1"),
        FoundReservation(IP, TWO, "f:8", "node2"),
        FoundReservation(IP + 1, ONE, "f:10"),
        FoundReservation(IP + 0x100, ONE, "f:17"),
    ]
    assert contents.ranges == [FoundRange(IP + 95, IP + 194, "f:6"), FoundRange(IP + 203, IP + 218, "f:6")]
    assert [note.text.partition(",")[0] for note in contents.notes] == [
        "includes '/etc/kea/more.json': import that file",
        "a reservation by client-id",
        "a reservation by circuit-id",
        "a reservation by duid",
        "next-server '10.0.0.1' of a reservation is left out: what a machine boots is decided here (`loader` of its "
        "reservation names another loader)",
        "a reservation with neither an address nor a name",
    ]


def test_what_stands_in_an_included_file() -> None:
    contents = keaconf.read(b'{"reservations": [{"hw-address": "52:54:00:00:00:01", "ip-address": "10.0.0.5"}]}', "f")
    assert len(contents.reservations) == 1


def one(text: str) -> bytes:
    """A configuration with one reservation, on line 2."""
    who = '"hw-address": "52:54:00:00:00:01", "ip-address": "10.0.0.5"'
    return f'{{"Dhcp4": {{"subnet4": [{{"reservations": [\n{{{who}, {text}}}]}}]}}}}'.encode()


def option(text: str) -> bytes:
    return one(f'"option-data": [\n{{{text}}}]')


OPTIONS = {
    "by name": ('"name": "routers", "data": "10.0.0.9"', ("routers", "10.0.0.9")),
    "by code": ('"code": 42, "data": "10.0.0.8, 10.0.0.9"', ("ntp-servers", "10.0.0.8, 10.0.0.9")),
    "a comma in a text": ('"name": "root-path", "data": "a\\\\,b"', ("root-path", "a,b")),
    "octets": ('"code": 224, "csv-format": false, "data": "0x00 FF"', ("224", "hex:00FF")),
}


@pytest.mark.parametrize(("text", "found"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options_of_a_reservation_are_taken_over(text: str, found: tuple[str, str]) -> None:
    contents = keaconf.read(option(text), "f")
    assert (contents.faults, contents.notes) == ([], [])
    assert contents.reservations == [FoundReservation(IP, ONE, "f:2", "", (found,))]


LEFT_OUT = {
    "an option that cannot be taken over": (option('"name": "nis-domain", "data": "x"'), "f:3: option nis-domain of a"),
    "an option of another space": (option('"space": "vendor-1", "code": 3, "data": "10.0.0.9"'), "f:3: option 3 of a"),
    "the boot file": (one('"boot-file-name": "x.efi"'), "f:2: boot-file-name 'x.efi' of a reservation is left out: wh"),
    "where to boot from": (
        one('"next-server": "10.0.0.9"'),
        "f:2: next-server '10.0.0.9' of a reservation is left out",
    ),
    "its classes": (one('"client-classes": ["a"]'), "f:2: client-classes ['a']: client classes are not taken over"),
    "what we have no word for": (
        one('"auth-key": "x"'),
        "f:2: auth-key 'x' of a reservation is left out: there is noth",
    ),
    "a class": (b'{"Dhcp4": {"client-classes": [\n{"name": "pxe", "test": "x"}]}}', "f:2: class 'pxe': client classes"),
    "a class that a subnet is for": (b'{"subnet4": [\n{"client-class": "pxe"}]}', "f:2: client-class 'pxe': client cl"),
    "a class that a pool is for": (
        b'{"subnet4": [{"pools": [\n{"pool": "10.0.0.0/28", "require-client-classes": ["a"]}]}]}',
        "f:2: require-client-classes ['a']: client classes",
    ),
    "of the other family": (
        b'{"subnet6": [{"reservations": [\n{"duid": "00:03:00", "ip-addresses": ["fd00::5"], "option-data": [5]}]}]}',
        "f:2: option-data [5] of a reservation is left out",
    ),
}


@pytest.mark.parametrize(("data", "note"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_what_is_left_out_is_said_with_its_place(data: bytes, note: str) -> None:
    contents = keaconf.read(data, "f")
    assert contents.faults == []
    assert [f"{each.where}: {each.text}"[: len(note)] for each in contents.notes] == [note]


def test_what_kea_writes_where_nothing_was_said_is_not_told() -> None:
    contents = keaconf.read(
        one('"boot-file-name": "", "next-server": "0.0.0.0", "client-classes": [], "option-data": [], "comment": "x"'),
        "f",
    )
    assert contents.notes == []


SIX = """{ "Dhcp6": { "subnet6": [ { "id": 1, "subnet": "fd00::/64",
  "pools": [ { "pool": "fd00::100 - fd00::1ff" }, { "pool": "fd00::200/120" } ],
  "pd-pools": [ { "prefix": "fd01::", "prefix-len": 48, "delegated-len": 64 } ],
  "reservations": [
    { "duid": "00:03:00:01:52:54:00:00:00:01", "ip-addresses": [ "fd00::5", "fd00::6" ], "hostname": "node1.example" },
    { "hw-address": "52:54:00:00:00:02", "ip-addresses": [ "fd00::7" ], "prefixes": [ "fd01::/64" ] },
    { "flex-id": "'x'", "ip-addresses": [ "fd00::8" ] },
    { "duid": "00:03:00", "hostname": "no address" }
  ] } ] } }
"""


def test_a_configuration_of_v6() -> None:
    contents, start = keaconf.read(SIX.encode(), "f"), 0xFD00 << 112
    assert contents.faults == []
    assert contents.reservations6 == [
        FoundReservation6(start + 5, "f:5", b"", b"\0\3\0\1" + ONE, "node1"),
        FoundReservation6(start + 6, "f:5", b"", b"\0\3\0\1" + ONE, "node1"),
        FoundReservation6(start + 7, "f:6", TWO),
    ]
    assert contents.ranges == [
        FoundRange(start + 0x100, start + 0x1FF, "f:2", six=True),
        FoundRange(start + 0x200, start + 0x2FF, "f:2", six=True),
    ]
    assert [note.text for note in contents.notes] == [
        "prefixes are not given here",
        "a reservation by neither a hardware address nor a DUID",
        "a reservation without an address",
        "pd-pools: prefixes are not given here",
    ]
    assert contents.reservations == []


def test_subnets_of_v6_alone() -> None:
    contents = keaconf.read(b'{"subnet6": [{"pools": [{"pool": "fd00::/120"}]}]}', "f")
    assert [span.six for span in contents.ranges] == [True]


FAULTS = {
    "an address that is none": ('{"hw-address": "52:54:00:00:00:01", "ip-address": "10.0.0"}', "Expected 4 octets"),
    "a hardware address that is none": ('{"hw-address": "52:54:x", "ip-address": "10.0.0.5"}', "invalid literal"),
    "a number where text belongs": ('{"hw-address": 5, "ip-address": "10.0.0.5"}', "hw-address: text is wanted"),
}


@pytest.mark.parametrize(("each", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_name_the_line(each: str, fault: str) -> None:
    contents = keaconf.read(f'{{"Dhcp4": {{"reservations": [\n{each}]}}}}'.encode(), "f")
    assert len(contents.faults) == 1
    assert contents.faults[0].startswith(f"f:2: {fault}")


def test_a_pool_that_is_none() -> None:
    contents = keaconf.read(b'{"subnet4": [{"pools": [\n{"pool": "10.0.0.5-x"}, {"pool": "10.0.0.1/24"}, 5]}]}', "f")
    assert [fault[:4] for fault in contents.faults] == ["f:2:", "f:2:"]


@pytest.mark.parametrize("text", ["[]", "5", '{"Dhcp4": []}'])
def test_what_is_no_configuration(text: str) -> None:
    assert keaconf.read(text.encode(), "f").faults == ["f:1: there is neither Dhcp4 nor Dhcp6 in it"]


def test_what_is_no_json() -> None:
    with pytest.raises(FileFault, match="f:2: a key is wanted"):
        keaconf.read(b'{"Dhcp4": {}\n"x"}', "f")
