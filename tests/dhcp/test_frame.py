"""A frame for a client without an address, read by scapy."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from provisioner.dhcp.frame import checksum, datagram, datagram6
from tests.dhcp.clients import ip


@given(st.binary(max_size=1472), st.integers(1, 2**32 - 2), st.integers(1, 2**32 - 2))
def test_scapy_reads_it_and_computes_the_same_sums(payload: bytes, source: int, target: int) -> None:
    wire = datagram(source, target, (67, 68), payload)
    read = IP(wire)
    assert (int.from_bytes(wire[12:16], "big"), int.from_bytes(wire[16:20], "big")) == (source, target)
    assert (read[UDP].sport, read[UDP].dport, bytes(read[UDP].payload)) == (67, 68, payload)
    sums = read.chksum, read[UDP].chksum
    del read.chksum, read[UDP].chksum
    again = IP(bytes(read))
    assert (again.chksum, again[UDP].chksum) == sums


@given(st.binary(max_size=1472), st.integers(1, 2**128 - 2), st.integers(1, 2**128 - 2))
def test_scapy_reads_ipv6_and_computes_the_same_sum(payload: bytes, source: int, target: int) -> None:
    wire = datagram6(source, target, (547, 546), payload)
    read = IPv6(wire)
    assert (int(IPv6Address(read.src)), int(IPv6Address(read.dst))) == (source, target)
    assert (read.plen, read.nh, bytes(read[UDP].payload)) == (len(wire) - 40, 17, payload)
    was = read[UDP].chksum
    del read[UDP].chksum
    assert IPv6(bytes(read))[UDP].chksum == was


SUMS = {"RFC 1071's example": ("0001f203f4f5f6f7", 0x220D), "an odd byte": ("ff", 0x00FF), "nothing": ("", 0xFFFF)}


@pytest.mark.parametrize(("data", "value"), SUMS.values(), ids=SUMS.keys())
def test_checksum(data: str, value: int) -> None:
    assert checksum(bytes.fromhex(data)) == value


def test_the_client_is_addressed() -> None:
    read = IP(datagram(ip("10.0.0.1"), ip("10.0.0.100"), (67, 68), b"x"))
    assert (read.src, read.dst, read.ttl) == ("10.0.0.1", "10.0.0.100", 64)
    read6 = IPv6(datagram6(int(IPv6Address("fd00::1")), int(IPv6Address("fd00::100")), (547, 546), b"x"))
    assert (read6.src, read6.dst, read6.hlim, bytes(read6[UDP].payload)) == ("fd00::1", "fd00::100", 64, b"x")
