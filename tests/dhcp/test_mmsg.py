"""Batches of datagrams over loopback, against plain sockets on the other end."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from provisioner.dhcp.mmsg import COUNT, PKTINFO, SIZE, Receiver, Sender, raise_unless_empty, sockaddr, way

LOOPBACK = 0x7F000001
IP_PKTINFO = 8
SO_NO_CHECK = 11
DENIED = "Permission denied"  # what broadcast is without SO_BROADCAST


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two UDP sockets on loopback; the first wants to know where packets were sent to."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
    ):
        for each in (here, there):
            each.bind(("127.0.0.1", 0))
            each.settimeout(10)
        here.setblocking(False)
        here.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        yield here, there


def test_nothing_there(pair: tuple[socket.socket, socket.socket]) -> None:
    assert Receiver(pair[0].fileno()).receive() == []


def test_what_came_and_from_where(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    receiver = Receiver(here.fileno())
    for turn in range(3):  # the headers are as good as new each time
        for number in range(5):
            there.sendto(bytes([turn, number]) * (number + 1), here.getsockname())
        found = receiver.receive()
        assert [data for data, _ in found] == [bytes([turn, number]) * (number + 1) for number in range(5)]
        assert {meta[:8] for _, meta in found} == {sockaddr(LOOPBACK, there.getsockname()[1])[:8]}
        _, ours, target = struct.unpack("=i4s4s", found[0][1][PKTINFO])
        assert ours == target == LOOPBACK.to_bytes(4, "big")


def test_more_than_a_batch_comes_in_batches(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    for number in range(COUNT + 3):
        there.sendto(number.to_bytes(2, "big"), here.getsockname())
    receiver = Receiver(here.fileno())
    assert [len(receiver.receive()) for _ in range(3)] == [COUNT, 3, 0]


def test_a_datagram_that_is_too_long_is_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    for size in (SIZE, SIZE + 1, 3):
        there.sendto(bytes(size), here.getsockname())
    assert [len(data) for data, _ in Receiver(here.fileno()).receive()] == [SIZE, SIZE, 3]


def test_an_empty_datagram(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    there.sendto(b"", here.getsockname())
    assert [data for data, _ in Receiver(here.fileno()).receive()] == [b""]


def test_send(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    name = way(LOOPBACK, there.getsockname()[1])
    sender = Sender(here.fileno())
    for turn in range(2):
        assert sender.send([(bytes([turn, number]) * number, name) for number in range(1, 9)]) == {}
        assert [there.recv(100) for _ in range(8)] == [bytes([turn, number]) * number for number in range(1, 9)]


BATCHES = {
    "all of one length": [b"a" * 9] * 5,
    "as many as there may be": [b"a" * 300] * COUNT,
    "each of another length": [b"a", b"bb", b"ccc"],
    "some of one length": [b"aa", b"bb", b"c", b"dd", b"ee", b"ff"],
    "empty ones": [b"", b"", b"a"],
    "too long to be joined": [b"a" * 2000] * 40,
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
@pytest.mark.parametrize("kernel_joins", [True, False])
def test_joined_datagrams_arrive_apart(
    pair: tuple[socket.socket, socket.socket], batch: list[bytes], kernel_joins: bool
) -> None:
    here, there = pair
    there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    here.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, not kernel_joins)  # without checksums it refuses
    sender, name = Sender(here.fileno()), way(LOOPBACK, there.getsockname()[1])
    for _ in range(2):
        assert sender.send([(data, name) for data in batch]) == {}
        assert [there.recv(SIZE) for _ in batch] == batch
    assert sender.joins or not kernel_joins


def test_joined_datagrams_go_where_each_belongs(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(10)
        one, two = (way(LOOPBACK, each.getsockname()[1]) for each in (there, other))
        assert Sender(here.fileno()).send([(b"1", one), (b"2", one), (b"3", two), (b"4", one), (b"5", two)]) == {}
        assert [there.recv(9), there.recv(9), there.recv(9)] == [b"1", b"2", b"4"]
        assert [other.recv(9), other.recv(9)] == [b"3", b"5"]


def test_joined_ones_that_cannot_be_sent_are_all_named(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    good, bad = way(LOOPBACK, there.getsockname()[1]), way(0xFFFFFFFF, 68)
    assert Sender(here.fileno()).send([(b"1", bad), (b"2", bad), (b"3", good), (b"4", good)]) == dict.fromkeys(
        (0, 1), DENIED
    )
    assert [there.recv(9), there.recv(9)] == [b"3", b"4"]


def test_one_that_cannot_be_sent_keeps_no_other_back(pair: tuple[socket.socket, socket.socket]) -> None:
    here, there = pair
    good, bad = way(LOOPBACK, there.getsockname()[1]), way(0xFFFFFFFF, 68)  # broadcast is not allowed here
    batch = [(b"1", bad), (b"2", good), (b"3", bad), (b"4", bad), (b"5", good)]
    assert Sender(here.fileno()).send(batch) == dict.fromkeys((0, 2, 3), DENIED)
    assert [there.recv(10), there.recv(10)] == [b"2", b"5"]


SOURCES = {"joined": [b"1", b"2"], "apart": [b"1", b"22"]}


@pytest.mark.parametrize("batch", SOURCES.values(), ids=SOURCES.keys())
def test_from_which_address(pair: tuple[socket.socket, socket.socket], batch: list[bytes]) -> None:
    there, port = pair[1], pair[1].getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("0.0.0.0", 0))
        sender = Sender(here.fileno())
        for source, seen in ((0, "127.0.0.1"), (LOOPBACK + 4, "127.0.0.5"), (LOOPBACK, "127.0.0.1")):
            assert sender.send([(data, way(LOOPBACK, port, source)) for data in batch]) == {}
            assert [there.recvfrom(9) for _ in batch] == [(data, (seen, here.getsockname()[1])) for data in batch]


@pytest.mark.parametrize("batch", SOURCES.values(), ids=SOURCES.keys())
def test_from_an_address_that_is_not_ours(pair: tuple[socket.socket, socket.socket], batch: list[bytes]) -> None:
    here, there = pair
    sender, port = Sender(here.fileno()), there.getsockname()[1]
    lost = sender.send([(data, way(LOOPBACK, port, 0xC0000201)) for data in batch])  # 192.0.2.1: RFC 5737
    assert lost == dict.fromkeys((0, 1), "Network is unreachable")
    assert sender.joins


def test_a_closed_socket_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        receiver = Receiver(gone.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        receiver.receive()


def test_an_icmp_error_for_something_sent_earlier_is_nothing() -> None:
    raise_unless_empty(errno.ECONNREFUSED)
    with pytest.raises(OSError, match="down"):
        raise_unless_empty(errno.ENETDOWN)
