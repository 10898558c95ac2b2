"""kea-dhcp4.conf: reservations wherever they stand."""

from __future__ import annotations

import pytest

from provisioner.dhcp.foreign import keaconf
from provisioner.dhcp.foreign.found import FileFault, FoundRange, FoundReservation

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
        "a reservation with neither an address nor a name",
    ]


def test_what_stands_in_an_included_file() -> None:
    contents = keaconf.read(b'{"reservations": [{"hw-address": "52:54:00:00:00:01", "ip-address": "10.0.0.5"}]}', "f")
    assert len(contents.reservations) == 1


def test_v6_is_left_out_with_a_word() -> None:
    contents = keaconf.read(b'{"Dhcp6": {}}', "f")
    assert [note.text for note in contents.notes] == ["Dhcp6 is left out"]
    assert contents.faults == ["f:1: there is no Dhcp4 in it"]


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
    assert keaconf.read(text.encode(), "f").faults == ["f:1: there is no Dhcp4 in it"]


def test_what_is_no_json() -> None:
    with pytest.raises(FileFault, match="f:2: a key is wanted"):
        keaconf.read(b'{"Dhcp4": {}\n"x"}', "f")
