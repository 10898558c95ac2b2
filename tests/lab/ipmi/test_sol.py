"""Serial over LAN, packet by packet."""

from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from provisioner.errors import WireError
from provisioner.lab.ipmi.sol import BUFFER_BYTES, DATA_BYTES, RETRY_S, Sol, SolPacket, decode, encode

packets = st.builds(
    SolPacket, st.integers(0, 15), st.integers(0, 15), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=255)
)


@hypothesis.given(packets)
def test_a_packet_is_read_again(packet: SolPacket) -> None:
    assert decode(encode(packet)) == packet


@hypothesis.given(st.binary(max_size=16))
def test_any_bytes_are_a_packet_or_a_wire_error(data: bytes) -> None:
    sol = Sol()
    sol.guest_printed(b"x", 0.0)
    try:
        sol.receive(data, 0.0)
    except WireError:
        return


def sent(sol: Sol) -> list[SolPacket]:
    return [decode(payload) for payload in sol.payloads_to_send()]


def test_one_packet_at_a_time() -> None:
    sol = Sol()
    sol.guest_printed(b"a" * (DATA_BYTES + 1), 0.0)
    assert sent(sol) == [SolPacket(1, data=b"a" * DATA_BYTES)]
    sol.receive(encode(SolPacket(0, 1, DATA_BYTES)), 0.1)
    assert sent(sol) == [SolPacket(2, data=b"a")]
    sol.receive(encode(SolPacket(0, 2, 1)), 0.2)
    assert (sent(sol), sol.get_timer()) == ([], None)


def test_what_was_not_accepted_is_sent_again() -> None:
    sol = Sol()
    sol.guest_printed(b"abcd", 0.0)
    sent(sol)
    sol.receive(encode(SolPacket(0, 1, 1)), 0.1)
    assert sent(sol) == [SolPacket(2, data=b"bcd")]


def test_what_was_not_acknowledged_is_repeated() -> None:
    sol = Sol()
    sol.guest_printed(b"abcd", 0.0)
    first = sent(sol)
    sol.handle_timer(RETRY_S / 2)
    assert sent(sol) == []
    sol.handle_timer(RETRY_S)
    assert sent(sol) == first


def test_keys_that_come_twice_are_typed_once() -> None:
    sol = Sol()
    keys = encode(SolPacket(3, data=b"ls\r"))
    assert [sol.receive(keys, 0.0), sol.receive(keys, 0.1)] == [b"ls\r", b""]
    assert sent(sol) == [SolPacket(0, 3, 3)] * 2


def test_output_that_nobody_takes_is_bounded() -> None:
    sol = Sol()
    for _ in range(20):
        sol.guest_printed(b"x" * BUFFER_BYTES, 0.0)
    assert sol.waiting <= BUFFER_BYTES


@pytest.mark.parametrize("data", ["10000000", "00100000", "0000"])
def test_refused(data: str) -> None:
    with pytest.raises(WireError):
        decode(bytes.fromhex(data))
