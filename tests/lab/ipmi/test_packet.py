"""RMCP, ASF and both session headers: tables, round trips, any bytes."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.errors import WireError
from provisioner.lab.ipmi import packet
from provisioner.lab.ipmi.crypto import SUITE_3, SUITES, Keys, Suite
from provisioner.lab.ipmi.packet import Packet, Payload, Ping, Plain, Plus, decode

KEYS = Keys(SUITE_3, b"k" * 20, b"c" * 16)
NUMBERS = st.integers(0, 0xFFFFFFFF)

READ = {
    "presence ping of ipmiping": ("0600ff06 000011be 80 2a 00 00", Ping(0x2A)),
    "channel authentication capabilities of ipmitool": (
        "0600ff07 00 00000000 00000000 09 2018c8 8100388e04b5",
        Plain(bytes.fromhex("2018c88100388e04b5")),
    ),
    "open session request": (
        "0600ff07 06 10 00000000 00000000 0400 00000000",
        Plus(0x10, bytes(4), covered=bytes.fromhex("0610 00000000 00000000 0400 00000000")),
    ),
}


@pytest.mark.parametrize(("data", "wanted"), READ.values(), ids=READ.keys())
def test_decode(data: str, wanted: Packet) -> None:
    assert decode(bytes.fromhex(data)) == wanted


REFUSED = {
    "nothing": "",
    "another RMCP version": "0500ff07 00",
    "another class": "0600ff08 00",
    "a ping of another enterprise": "0600ff06 00000001 80 01 00 00",
    "a pong": "0600ff06 000011be 40 01 00 00",
    "an IPMI 1.5 session with MD5": "0600ff07 02 00000000 00000000",
    "a length that runs past the end": "0600ff07 00 00000000 00000000 09 20",
    "an RMCP+ length that runs past the end": "0600ff07 06 00 00000000 00000000 ffff 00",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_refused(data: str) -> None:
    with pytest.raises(WireError):
        decode(bytes.fromhex(data))


@hypothesis.given(st.binary(max_size=128) | st.binary(max_size=96).map(lambda rest: b"\x06\x00\xff\x07" + rest))
def test_any_bytes_are_a_value_or_a_wire_error(data: bytes) -> None:
    try:
        found = decode(data)
        if isinstance(found, Plus):
            packet.open_sealed(found, KEYS)
    except WireError:
        pass


def test_a_ping_is_read_again() -> None:
    assert decode(packet.encode_ping(7)) == Ping(7)


def test_pong_says_ipmi() -> None:
    pong = packet.encode_pong(7)
    assert (len(pong), pong[8], pong[9], pong[20]) == (28, 0x40, 7, 0x81)


@hypothesis.given(st.binary(max_size=255), NUMBERS, NUMBERS)
def test_a_plain_packet_is_read_again(payload: bytes, sequence: int, session: int) -> None:
    sent = Plain(payload, sequence, session)
    assert decode(packet.encode_plain(sent)) == sent


@hypothesis.given(st.binary(max_size=300), NUMBERS, NUMBERS, st.sampled_from(SUITES))
def test_a_sealed_packet_is_read_again(payload: bytes, session: int, sequence: int, suite: Suite) -> None:
    keys = Keys(suite, b"k" * 20, b"c" * 16)
    found = decode(packet.encode_sealed(Payload.IPMI, payload, session, sequence, keys, bytes(16)))
    assert isinstance(found, Plus)
    assert (found.type, found.session, found.sequence, found.encrypted, found.sealed) == (
        0,
        session,
        sequence,
        True,
        True,
    )
    assert packet.open_sealed(found, keys) == payload


@hypothesis.given(st.integers(4, 200))
def test_a_flipped_bit_breaks_the_seal(at: int) -> None:
    data = bytearray(packet.encode_sealed(Payload.IPMI, b"x" * 100, 1, 2, KEYS, bytes(16)))
    data[at % (len(data) - 4) + 4] ^= 0x01
    with pytest.raises(WireError):
        opened(bytes(data))


def opened(data: bytes) -> bytes:
    found = decode(data)
    if not isinstance(found, Plus):
        raise WireError("not of a session")
    return packet.open_sealed(found, KEYS)


def test_a_session_packet_without_seal_is_refused() -> None:
    found = decode(packet.encode_plus(Payload.IPMI, b"x", 5, 1))
    assert isinstance(found, Plus)
    with pytest.raises(WireError):
        packet.open_sealed(found, KEYS)
