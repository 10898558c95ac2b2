"""A frame for a client without an address, read by scapy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP

from provisioner.dhcp.frame import checksum, datagram
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


SUMS = {"RFC 1071's example": ("0001f203f4f5f6f7", 0x220D), "an odd byte": ("ff", 0x00FF), "nothing": ("", 0xFFFF)}


@pytest.mark.parametrize(("data", "value"), SUMS.values(), ids=SUMS.keys())
def test_checksum(data: str, value: int) -> None:
    assert checksum(bytes.fromhex(data)) == value


def test_the_client_is_addressed() -> None:
    read = IP(datagram(ip("10.0.0.1"), ip("10.0.0.100"), (67, 68), b"x"))
    assert (read.src, read.dst, read.ttl) == ("10.0.0.1", "10.0.0.100", 64)
