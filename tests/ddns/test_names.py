"""Which records a name makes."""

from __future__ import annotations

import pytest

from provisioner.ddns.names import DUID, HTYPE, Owner, dhcid, fqdn_of, owner_of, reverse_name, wire_name, zone_of
from provisioner.ddns.settings import Dns

DNS = Dns(server="127.0.0.1", forward=("rack.example", "lab.rack.example."), reverse=("0.10.in-addr.arpa",))

# the examples of RFC 4701 section 3.6
EXAMPLES = {
    "DHCPv6, a DUID": (
        Owner(2, bytes.fromhex("00010006412df166010203040506")),
        "chi6.example.com.",
        "000201636fc0b8271c82825bb1ac5c41cf5351aa69b4febd94e8f17cdb95000da48c40",
    ),
    "DHCPv4, a client identifier": (
        Owner(1, bytes.fromhex("010708090a0b0c")),
        "chi.example.com.",
        "0001013920fe5d1dceb3fd0ba3379756a70d73b17009f41d58bddbfcd6a2503956d8da",
    ),
}


@pytest.mark.parametrize(("owner", "fqdn", "data"), EXAMPLES.values(), ids=EXAMPLES.keys())
def test_dhcid(owner: Owner, fqdn: str, data: str) -> None:
    assert dhcid(owner, fqdn).hex() == data


OWNERS = {
    "a machine with a UUID": (
        b"\x52\x54\0\0\0\1",
        "0f7b8c2e-0000-1000-8000-525400000001",
        Owner(DUID, bytes.fromhex("00040f7b8c2e000010008000525400000001")),
    ),
    "a machine without": (b"\x52\x54\0\0\0\1", "", Owner(HTYPE, b"\1\x52\x54\0\0\0\1")),
    "a UUID that is none": (b"\x52\x54\0\0\0\1", "u1", Owner(HTYPE, b"\1\x52\x54\0\0\0\1")),
    "hardware that is not Ethernet": (b"\x20\1\2\3\4\5\6\7", "", Owner(HTYPE, b"\x20\1\2\3\4\5\6\7")),
}


@pytest.mark.parametrize(("key", "uuid", "owner"), OWNERS.values(), ids=OWNERS.keys())
def test_whose_a_name_is(key: bytes, uuid: str, owner: Owner) -> None:
    assert owner_of(key, uuid) == owner


FQDNS = {
    "in the first zone": ("node1", "", "node1.rack.example."),
    "in the subnet's domain, which is a zone": ("node1", "LAB.rack.example", "node1.lab.rack.example."),
    "in the subnet's domain, within a zone": ("node1", "a.b.rack.example.", "node1.a.b.rack.example."),
    "the subnet's domain is none of ours": ("node1", "other.example", "node1.rack.example."),
    "a domain that only ends alike": ("node1", "xrack.example", "node1.rack.example."),
    "with a domain of its own": ("node1.elsewhere.example", "", "node1.rack.example."),
    "a domain that is no ASCII": ("node1", "Büro.rack.example", "node1.xn--bro-hoa.rack.example."),
    "capitals": ("NODE1", "", "node1.rack.example."),
    "no host name": ("node_1", "", ""),
    "nothing": ("", "", ""),
    "too long": ("a" * 64, "", ""),
    "what sanitises to nothing": ("...", "", ""),
}


@pytest.mark.parametrize(("name", "domain", "fqdn"), FQDNS.values(), ids=FQDNS.keys())
def test_full_names(name: str, domain: str, fqdn: str) -> None:
    assert fqdn_of(name, domain, DNS) == fqdn


def test_the_narrowest_zone_counts() -> None:
    assert zone_of("a.lab.rack.example.", DNS.forward) == "lab.rack.example"
    assert zone_of("rack.example", DNS.forward) == "rack.example"
    assert zone_of("example", DNS.forward) == ""


def test_reverse_names() -> None:
    assert reverse_name(bytes((10, 0, 8, 5))) == "5.8.0.10.in-addr.arpa."
    assert reverse_name(bytes(15) + b"\1").endswith(".0.0.ip6.arpa.")


def test_names_in_wire_form() -> None:
    assert wire_name("A.b.") == b"\1a\1b\0"
