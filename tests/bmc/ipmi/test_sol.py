"""The console's state machine: packets acknowledged, repeated, refused; time is a number here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.bmc.ipmi.sol import MAX_TRIES, MAX_TYPED, Sol
from provisioner.errors import BmcProtocolError, BmcUnreachable


def packet(sequence: int = 0, acked: int = 0, count: int = 0, status: int = 0, data: bytes = b"") -> bytes:
    return bytes((sequence, acked, count, status)) + data


def test_output_is_handed_on_and_acknowledged() -> None:
    sol = Sol(chunk=10)
    assert sol.receive(packet(1, data=b"login: "), 0.0) == b"login: "
    assert sol.payloads_to_send(0.0) == [packet(0, 1, 7)]
    assert sol.payloads_to_send(0.0) == []


REPEATS = {
    "the same again is not printed twice": ((1, b"abc"), (1, b"abc"), b""),
    "a repeat with more yields what is new": ((1, b"abc"), (1, b"abcde"), b"de"),
    "the next one": ((1, b"abc"), (2, b"abc"), b"abc"),
    "round the corner": ((15, b"abc"), (1, b"def"), b"def"),
}


@pytest.mark.parametrize(("first", "second", "printed"), REPEATS.values(), ids=REPEATS.keys())
def test_repeats(first: tuple[int, bytes], second: tuple[int, bytes], printed: bytes) -> None:
    sol = Sol(chunk=10)
    sol.receive(packet(first[0], data=first[1]), 0.0)
    assert sol.receive(packet(second[0], data=second[1]), 0.0) == printed
    assert sol.payloads_to_send(0.0)[-1] == packet(0, second[0], len(second[1]))


def test_keys_go_out_in_chunks_one_packet_at_a_time() -> None:
    sol = Sol(chunk=4)
    sol.type(b"reboot\n")
    assert sol.payloads_to_send(0.0) == [packet(1, data=b"rebo")]
    assert sol.payloads_to_send(0.1) == []
    sol.receive(packet(0, 1, 4), 0.2)
    assert sol.payloads_to_send(0.2) == [packet(2, data=b"ot\n")]
    sol.receive(packet(0, 2, 3), 0.3)
    assert sol.payloads_to_send(0.3) == []
    assert sol.get_timer() is None


def test_what_the_bmc_did_not_take_goes_again() -> None:
    sol = Sol(chunk=8)
    sol.type(b"reboot\n")
    sol.payloads_to_send(0.0)
    sol.receive(packet(0, 1, 3), 0.1)
    assert sol.payloads_to_send(0.1) == [packet(2, data=b"oot\n")]


def test_a_machine_that_is_off_takes_nothing_for_a_while() -> None:
    sol = Sol(chunk=8)
    sol.type(b"x")
    sol.payloads_to_send(0.0)
    sol.receive(packet(0, 1, 0, 0x60), 0.1)
    assert sol.payloads_to_send(0.1) == []
    assert sol.get_timer() == pytest.approx(1.1)
    sol.handle_timer(1.1)
    assert sol.payloads_to_send(1.1) == [packet(2, data=b"x")]


def test_break_goes_before_keys() -> None:
    sol = Sol(chunk=8)
    sol.type(b"b")
    sol.send_break()
    assert sol.payloads_to_send(0.0) == [packet(1, status=0x10, data=b"b")]


def test_no_answer_is_repeated_eight_times_and_then_the_line_is_lost() -> None:
    sol = Sol(chunk=8)
    sol.type(b"x")
    sent = sol.payloads_to_send(0.0)
    now = 0.0
    while (due := sol.get_timer()) is not None:
        sol.handle_timer(due - 0.01)  # too early is nothing
        sol.handle_timer(due)
        now = due
        sent += sol.payloads_to_send(now)
    assert sent == [packet(1, data=b"x")] * MAX_TRIES
    assert now == pytest.approx(8.0)
    with pytest.raises(BmcUnreachable, match="no answer to 8 packets"):
        sol.raise_if_lost("ipmi://x")


def test_the_bmc_ends_it() -> None:
    sol = Sol(chunk=8)
    sol.raise_if_lost("x")
    sol.receive(packet(status=0x10), 0.0)
    assert sol.lost
    sol.type(b"x")
    assert sol.payloads_to_send(0.0) == []


def test_keys_that_nobody_takes_are_bounded() -> None:
    sol = Sol(chunk=8)
    sol.type(bytes(MAX_TYPED))
    with pytest.raises(BmcProtocolError, match="wait for the console"):
        sol.type(b"x")


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_any_bytes(payloads: list[bytes]) -> None:
    sol = Sol(chunk=4)
    sol.type(b"hello")
    for number, payload in enumerate(payloads):
        assert isinstance(sol.receive(payload, float(number)), bytes)
        assert all(len(sent) >= 4 for sent in sol.payloads_to_send(float(number)))
