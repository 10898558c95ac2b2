"""A transfer ends whole whatever the network does, sends nothing twice without need, and never goes on for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.tftp.options import Agreed
from provisioner.tftp.packet import Ack, Data, Error, Options, decode, encode
from provisioner.tftp.transfer import GRACE_S, Outcome, Transfer
from tests.tftp.receiver import Network, run

OACKED = (("tsize", "0"),)


def blocks(transfer: Transfer) -> list[int]:
    """The numbers of the blocks that it wants to send; 0 stands for an OACK."""
    packets = [decode(header + bytes(payload)) for header, payload in transfer.datagrams_to_send()]
    return [packet.block if isinstance(packet, Data) else 0 for packet in packets]


def transfer(size: int, *, windowsize: int = 1, options: Options = ()) -> Transfer:
    return Transfer(memoryview(bytes(size)), Agreed(512, windowsize, None, options), 0.0)


def ack(number: int) -> bytes:
    return encode(Ack(number))


SIZES = {"empty": 0, "one octet": 1, "just under a block": 511, "one block": 512, "many": 512 * 20, "odd": 512 * 20 + 7}
WINDOWS: dict[str, Options] = {
    "no options": (),
    "window 1": (("blksize", "512"),),
    "window 4": (("windowsize", "4"),),
    "window 64": (("windowsize", "64"),),
}
NETWORKS = {
    "a perfect link": Network(),
    "1 % of everything": Network(0.01, 0.01, 0.01),
    "5 % of everything": Network(0.05, 0.05, 0.05),
    "20 % loss": Network(0.2),
    "every datagram twice": Network(repeat=1.0),
    "a third reordered": Network(reorder=0.33),
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("options", WINDOWS.values(), ids=WINDOWS.keys())
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())
def test_content_arrives_whole(size: int, options: Options, network: Network) -> None:
    content = bytes(n * 7 & 0xFF for n in range(size))
    for seed in range(5):
        journey = run(content, options, network, seed=seed)
        assert journey.receiver.content == content
        assert journey.receiver.finished
        assert journey.transfer.done


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.integers(0, 40_000),
    st.sampled_from([(), (("windowsize", "3"),), (("blksize", "100"), ("windowsize", "16"))]),
    st.builds(Network, st.floats(0, 0.3), st.floats(0, 1), st.floats(0, 0.5)),
    st.integers(0, 2**32),
    st.booleans(),
)
def test_content_arrives_whole_over_any_network(
    size: int, options: Options, network: Network, seed: int, chatty: bool
) -> None:
    content = bytes(n * 13 & 0xFF for n in range(size))
    journey = run(content, options, network, seed=seed, chatty=chatty)
    assert bytes(journey.receiver.content) == content[: len(journey.receiver.content)]
    if journey.transfer.outcome is not Outcome.TIMED_OUT:
        assert journey.receiver.finished
        assert journey.transfer.done


@pytest.mark.unmeasured
@pytest.mark.parametrize("options", WINDOWS.values(), ids=WINDOWS.keys())
@pytest.mark.parametrize("chatty", [False, True], ids=["a calm client", "a client that acknowledges everything"])
def test_doubled_datagrams_cause_no_storm(options: Options, chatty: bool) -> None:
    """Every datagram comes twice in both directions: each block is still sent about once (RFC 1123 4.2.3.1)."""
    size = 512 * 2000
    journey = run(bytes(size), options, Network(repeat=1.0), chatty=chatty)
    assert journey.receiver.finished
    assert journey.sent <= 2002 * 1.1


@pytest.mark.unmeasured
def test_block_numbers_roll_over() -> None:
    content = bytes(range(256)) * (8 * 70_000 // 256)
    journey = run(content, (("blksize", "8"), ("windowsize", "64")), Network(0.001))
    assert journey.transfer.outcome is Outcome.COMPLETE
    assert journey.receiver.content == content


def test_a_repeated_ack_at_windowsize_1_sends_nothing() -> None:
    sent = transfer(2000)
    assert blocks(sent) == [1]
    sent.receive_datagram(ack(1), 0.1)
    assert blocks(sent) == [2]
    sent.receive_datagram(ack(1), 0.2)
    sent.receive_datagram(ack(0), 0.2)
    assert blocks(sent) == []


def test_an_ack_inside_the_window_slides_it_and_a_hole_that_stays_is_filled() -> None:
    sent = transfer(512 * 20, windowsize=8)
    assert blocks(sent) == [1, 2, 3, 4, 5, 6, 7, 8]
    sent.receive_datagram(ack(3), 0.1)
    assert blocks(sent) == [9, 10, 11]
    timer = sent.get_timer()
    assert timer == pytest.approx(0.1 + 0.15)
    sent.handle_timer(timer)
    assert blocks(sent) == [4, 5, 6, 7, 8, 9, 10, 11]
    assert sent.retransmitted_blocks == 8


def test_an_ack_inside_the_window_that_a_doubled_block_caused_costs_nothing() -> None:
    sent = transfer(512 * 20, windowsize=8)
    blocks(sent)
    sent.receive_datagram(ack(3), 0.1)
    assert blocks(sent) == [9, 10, 11]
    sent.receive_datagram(ack(11), 0.11)
    assert blocks(sent) == [12, 13, 14, 15, 16, 17, 18, 19]
    assert sent.retransmitted_blocks == 0


def test_a_lost_first_block_is_sent_again_once_for_any_number_of_reports() -> None:
    sent = transfer(512 * 40, windowsize=4)
    sent.receive_datagram(ack(4), 0.1)
    assert blocks(sent) == [1, 2, 3, 4, 5, 6, 7, 8]
    for _ in range(100):
        sent.receive_datagram(ack(4), 0.11)
        sent.handle_timer(0.11 + 0.15)
    assert blocks(sent) == [5, 6, 7, 8]


def test_an_ack_of_what_was_never_sent_is_ignored() -> None:
    sent = transfer(512 * 20, windowsize=4)
    blocks(sent)
    for number in (5, 1000, 40_000, 65_535):
        sent.receive_datagram(ack(number), 0.1)
    assert blocks(sent) == []
    assert sent.acked_bytes == 0


def test_an_unanswered_request_costs_five_packets_in_31_seconds() -> None:
    sent = transfer(100_000, options=OACKED)
    at = []
    now = 0.0
    while (timer := sent.get_timer()) is not None:
        at += [now] * len(sent.datagrams_to_send())
        now = timer
        sent.handle_timer(now)
    assert at == [0.0, 1.0, 3.0, 7.0, 15.0]
    assert now == 31.0
    assert sent.outcome is Outcome.TIMED_OUT
    assert sent.half_open


def test_a_negotiated_timeout_is_the_longest_pause() -> None:
    sent = Transfer(memoryview(bytes(9)), Agreed(512, 1, 3.0, (("timeout", "3"),)), 0.0)
    at = []
    while (timer := sent.get_timer()) is not None:
        at.append(timer)
        sent.handle_timer(timer)
    assert at[:4] == [1.0, 3.0, 6.0, 9.0]
    assert sent.outcome is Outcome.TIMED_OUT


def test_a_client_that_creeps_is_ended() -> None:
    sent = transfer(512 * 1000)
    now = 0.0
    for number in range(1, 1000):
        now += 20.0
        sent.handle_timer(now)
        sent.receive_datagram(ack(number), now)
    assert sent.outcome is Outcome.TOO_SLOW
    assert now > GRACE_S
    (last,) = (decode(header) for header, _ in sent.datagrams_to_send()[-1:])
    assert isinstance(last, Error)


def test_the_round_trip_sets_the_pace_of_retransmission() -> None:
    sent = transfer(512 * 100)
    for number in range(1, 20):
        sent.receive_datagram(ack(number), number * 0.01)
    assert sent.get_timer() == pytest.approx(0.19 + 0.1)


ENDS: dict[str, tuple[bytes, Outcome, str]] = {
    "OVMF has learnt the size": (b"\0\5\0\0User aborted the transfer\0", Outcome.ABORTED, "User aborted the transfer"),
    "escape codes are made harmless (C-T6)": (b"\0\5\0\0\x1b[2J\n\0", Outcome.ABORTED, "?[2J?"),
    "9,000 octets of complaint are cut (C-T6)": (b"\0\5\0\0" + b"x" * 9000, Outcome.ABORTED, "x" * 120),
}


@pytest.mark.parametrize(("data", "outcome", "message"), ENDS.values(), ids=ENDS.keys())
def test_the_client_ends_it(data: bytes, outcome: Outcome, message: str) -> None:
    sent = transfer(100, options=OACKED)
    sent.receive_datagram(data, 0.1)
    assert (sent.outcome, sent.message) == (outcome, message)
    assert sent.get_timer() is None


def test_a_closed_port_after_the_last_block_counts_as_delivered() -> None:
    sent = transfer(100)
    sent.peer_unreachable()
    assert sent.outcome is Outcome.UNCONFIRMED
    sent = transfer(5000)
    sent.peer_unreachable()
    assert sent.outcome is Outcome.GONE


@given(st.lists(st.binary(max_size=20).map(lambda tail: b"\0\4" + tail) | st.binary(max_size=20), max_size=30))
def test_any_datagrams(datagrams: list[bytes]) -> None:
    sent = transfer(512 * 50, windowsize=4, options=OACKED)
    total = 0
    for datagram in datagrams:
        sent.receive_datagram(datagram, 0.5)
        total += len(sent.datagrams_to_send())
    assert total <= 1 + 4 * 2 * len(datagrams)
