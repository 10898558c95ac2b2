"""A client as RFC 1350 and RFC 7440 describe it, and a network that loses, repeats and reorders, in virtual time."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

from provisioner.tftp.options import Limits, negotiate
from provisioner.tftp.packet import Ack, Data, Mode, OptionAck, Options, Request, decode, encode
from provisioner.tftp.transfer import Transfer

TIMEOUT_S = 1.0


@dataclass
class Receiver:
    """Collects blocks in order; acknowledges at the end of a window, at a gap, and again when nothing comes."""

    blksize: int = 512
    windowsize: int = 1
    chatty: bool = False
    """Acknowledges every block that is out of order, as naive clients do: what storms are made of."""
    content: bytearray = field(default_factory=bytearray)
    expected: int = 1
    in_window: int = 0
    gap_reported: bool = False
    finished: bool = False

    def receive(self, datagram: bytes) -> list[bytes]:
        match decode(datagram):
            case OptionAck() if self.expected == 1:
                return [encode(Ack(0))]
            case Data(block, payload):
                return self._block(block, payload)
        return []

    def _block(self, block: int, payload: bytes) -> list[bytes]:
        if block != self.expected & 0xFFFF or self.finished:
            if self.gap_reported and not self.chatty and self.windowsize > 1:
                return []
            self.gap_reported, self.in_window = True, 0
            return self.acknowledge()
        self.content += payload
        self.expected += 1
        self.in_window += 1
        self.gap_reported = False
        self.finished = len(payload) < self.blksize
        if self.finished or self.in_window == self.windowsize:
            self.in_window = 0
            return self.acknowledge()
        return []

    def acknowledge(self) -> list[bytes]:
        return [encode(Ack((self.expected - 1) & 0xFFFF))]


@dataclass(frozen=True)
class Network:
    """Chances by datagram, in both directions, and how long one takes."""

    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    latency_s: float = 0.002


@dataclass
class Journey:
    """What came of a transfer."""

    transfer: Transfer
    receiver: Receiver
    seconds: float
    sent: int
    """Datagrams that the server sent."""


def run(  # noqa: C901  a small discrete-event simulation reads best in one piece
    content: bytes, options: Options, network: Network, *, seed: int = 0, chatty: bool = False, limit_s: float = 600.0
) -> Journey:
    """Carry `content` through `network` until the server is done."""
    chance = random.Random(seed)
    agreed = negotiate(Request("a", Mode.OCTET, options), len(content), Limits(mtu=70_000))
    transfer = Transfer(memoryview(content), agreed, 0.0)
    receiver = Receiver(agreed.blksize, agreed.windowsize, chatty)
    order = itertools.count()
    flying: list[tuple[float, int, str, bytes]] = []
    now, heard, sent = 0.0, 0.0, 0

    def send(to: str, datagram: bytes) -> None:
        for _ in range(2 if chance.random() < network.repeat else 1):
            if chance.random() >= network.loss:
                late = network.latency_s * 3 if chance.random() < network.reorder else 0.0
                heapq.heappush(flying, (now + network.latency_s + late, next(order), to, datagram))

    while now < limit_s:
        for header, payload in transfer.datagrams_to_send():
            sent += 1
            send("client", header + bytes(payload))
        if transfer.done:
            break
        timer = transfer.get_timer()
        assert timer is not None
        due = min(timer, heard + TIMEOUT_S if not receiver.finished else timer)
        if flying and flying[0][0] <= due:
            now, _, to, datagram = heapq.heappop(flying)
            if to == "server":
                transfer.receive_datagram(datagram, now)
            else:
                heard = now
                for answer in receiver.receive(datagram):
                    send("server", answer)
        elif due == timer:
            now = due
            transfer.handle_timer(now)
        else:
            now = heard = due
            for answer in receiver.acknowledge() if receiver.expected > 1 else []:
                send("server", answer)
    return Journey(transfer, receiver, now, sent)
