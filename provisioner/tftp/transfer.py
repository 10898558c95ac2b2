"""One file on its way to one client: blocks, windows, retransmission (RFC 1350, 2347, 7440). No I/O, no clock.

A value machine with four calls: `receive_datagram`, `datagrams_to_send`, `get_timer`, `handle_timer`.
All times are seconds on the caller's monotonic clock.
"""

from __future__ import annotations

import struct
from enum import StrEnum

from provisioner.errors import WireError
from provisioner.tftp.options import Agreed
from provisioner.tftp.packet import Error, ErrorCode, Opcode, OptionAck, decode, encode

FIRST_RTO_S = 1.0
"""Wait for an answer before a round trip was measured; doubling from here gives up after five packets in 31 s."""
MIN_RTO_S = 0.1
"""Firmware that stalls for less than this is not sent the same again."""
MAX_RTO_S = 16.0
MIN_HOLE_S, MAX_HOLE_S = 0.002, 0.2
"""How long a hole may be open before it is filled, one and a half round trips within these bounds: an answer to what
was sent after the hole comes in one, and shows whether it was a loss or a block that came twice."""
PATIENCE_S = 31.0
"""Silence after which a client is given up. A client that negotiated a timeout gets at least three of them."""
SLOWEST_BYTES_PER_S = 8 * 1024
GRACE_S = 120.0
"""A transfer may take this plus its size at SLOWEST_BYTES_PER_S: one ACK in 30 s holds no place for days."""
MEASURED_EVERY = 16
"""Blocks between two measurements of the round trip: it does not change from one to the next."""
MAX_MESSAGE = 120
"""Characters kept of a peer's error message."""

_HEADER = struct.Struct(">HH")
_header = _HEADER.pack
_DATA, _ACK = int(Opcode.DATA), int(Opcode.ACK)
_EMPTY = memoryview(b"")

Datagram = tuple[bytes, memoryview]
"""Header and payload, to be sent as one datagram without being copied together."""


class Outcome(StrEnum):
    """How a transfer ended."""

    COMPLETE = "complete"
    UNCONFIRMED = "unconfirmed"  # all was sent, and the client closed its port without a last ACK that reached us
    ABORTED = "aborted"  # the client sent an ERROR; firmware does so after it has learnt the size
    TIMED_OUT = "timed-out"
    GONE = "gone"  # the client's port is closed
    TOO_SLOW = "too-slow"
    STOPPED = "stopped"  # on our side: the server shuts down, or the place was needed


class Transfer:
    """Sends `content` block by block, and knows when it is done.

    Nobody is sent a block twice because an acknowledgement came twice (the Sorcerer's Apprentice, RFC 1123 section
    4.2.3.1). An ACK inside the window (RFC 7440 section 4) slides the window at once, so that client and server agree
    on its end whatever caused the ACK; what lies behind it is sent again only if the hole stays open. A repeated ACK of
    the newest position reports a hole at windowsize over 1 only, once for each position, and not while blocks that
    were sent twice may still be on their way.
    """

    def __init__(self, content: memoryview, agreed: Agreed, now: float) -> None:
        self.size_bytes = len(content)
        self.agreed = agreed
        self.outcome: Outcome | None = None
        self.message = ""
        """What the client gave as the reason of an abort, printable."""
        self.retransmitted_blocks = 0
        self._content = content
        self._last = len(content) // agreed.blksize + 1
        self._acked = 0
        self._sent = 0
        self._recover = 0  # highest block that was on its way when something was sent again
        self._reported = -1  # position whose loss was reported by a repeated ACK
        self._fill_at: float | None = None  # when the hole behind the last ACK is filled
        self._waits_for_ack_0 = bool(agreed.options)
        self._heard_at = now
        self._deadline = now + GRACE_S + self.size_bytes / SLOWEST_BYTES_PER_S
        self._rtt = _RoundTrip(agreed.timeout_s)
        self._outbox: list[Datagram] = []
        self._sent_at = now
        self._measure_from = 0
        self._clean = True  # nothing of the current window was sent twice: its round trip counts (Karn's rule)
        if self._waits_for_ack_0:
            self._outbox.append((encode(OptionAck(agreed.options)), _EMPTY))
        else:
            self._send_from(0, now)

    @property
    def done(self) -> bool:
        """Nothing more will be sent once `datagrams_to_send` was emptied."""
        return self.outcome is not None

    @property
    def half_open(self) -> bool:
        """The client has not yet shown that it exists: its address may be made up."""
        return self._acked == 0 and (self._waits_for_ack_0 or not self.agreed.options)

    @property
    def acked_bytes(self) -> int:
        """How much of the content the client has acknowledged."""
        return min(self._acked * self.agreed.blksize, self.size_bytes)

    def receive_datagram(self, data: bytes, now: float) -> None:
        """Take one datagram from the client. Whatever is not an ACK or an ERROR is ignored."""
        if self.outcome is not None:
            return
        if len(data) >= 4:
            opcode, number = _HEADER.unpack_from(data)
            if opcode == _ACK:
                self._receive_ack(number, now)
                return
        try:
            packet = decode(data)
        except WireError:
            return
        if isinstance(packet, Error):
            self.message = "".join(c if " " <= c <= "~" else "?" for c in packet.message[:MAX_MESSAGE])
            self.outcome = Outcome.ABORTED

    def datagrams_to_send(self) -> list[Datagram]:
        """Hand over what is to be sent now, in order."""
        out, self._outbox = self._outbox, []
        return out

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called; None once the transfer is done."""
        if self.outcome is not None:
            return None
        due = self._sent_at + self._rtt.rto_s
        if self._fill_at is not None and self._fill_at < due:
            due = self._fill_at
        return due if due < self._deadline else self._deadline

    def handle_timer(self, now: float) -> None:
        """Send again what was not acknowledged in time, or give up."""
        if self.outcome is not None:
            return
        if now >= self._deadline:
            self.stop(Outcome.TOO_SLOW, "slower than 8 kB/s")
        elif now - self._heard_at >= self._rtt.patience_s:
            self.outcome = Outcome.TIMED_OUT
        elif now >= self._sent_at + self._rtt.rto_s:
            self._rtt.back_off()
            self._send_again(now)
        elif self._fill_at is not None and now >= self._fill_at:
            self._send_again(now)

    def peer_unreachable(self) -> None:
        """The client's port is closed (ICMP)."""
        if self.outcome is None:
            self.outcome = Outcome.UNCONFIRMED if self._sent == self._last else Outcome.GONE

    def stop(self, outcome: Outcome, reason: str) -> None:
        """End it from our side and tell the client why."""
        if self.outcome is None:
            self.outcome = outcome
            self._outbox = [(encode(Error(ErrorCode.UNDEFINED, reason)), _EMPTY)]

    def _receive_ack(self, number: int, now: float) -> None:
        if self._waits_for_ack_0:
            if number == 0:
                self._waits_for_ack_0 = False
                self._advance(0, now)
            return
        step = (number - self._acked) & 0xFFFF  # block numbers roll over to 0
        if step > self._sent - self._acked:
            return  # of long ago, or of what was never sent
        if step:
            self._advance(step, now)
        elif self.agreed.windowsize > 1 and self._acked > self._recover and self._reported != self._acked:
            self._reported = self._acked
            self._fill_soon(now)

    def _advance(self, step: int, now: float) -> None:
        if self._clean and self._acked >= self._measure_from:
            self._rtt.measured(now - self._sent_at)
            self._measure_from = self._acked + MEASURED_EVERY
        self._rtt.heard()
        self._heard_at = now
        self._acked += step
        if self._acked == self._last:
            self.outcome = Outcome.COMPLETE
            return
        self._clean = self._acked == self._sent
        self._fill_at = None
        if not self._clean:
            self._fill_soon(now)
        self._send_from(self._sent, now)

    def _fill_soon(self, now: float) -> None:
        if self._fill_at is None:
            self._fill_at = now + self._rtt.hole_s

    def _send_again(self, now: float) -> None:
        self._clean = False
        self._fill_at = None
        if self._waits_for_ack_0:
            self._outbox.append((encode(OptionAck(self.agreed.options)), _EMPTY))
            self._sent_at = now
            return
        self._recover = self._sent
        self.retransmitted_blocks += self._sent - self._acked
        self._send_from(self._acked, now)

    def _send_from(self, first: int, now: float) -> None:
        """Send the blocks after `first` up to the end of the window."""
        size, content, send = self.agreed.blksize, self._content, self._outbox.append
        end = min(self._acked + self.agreed.windowsize, self._last)
        for block in range(first, end):
            at = block * size
            send((_header(_DATA, block + 1 & 0xFFFF), content[at : at + size]))
        self._sent, self._sent_at = end, now


class _RoundTrip:
    """How long to wait for an answer: RFC 6298's estimate, at most what the client asked for (RFC 2349).

    Sooner than the client asked for is harmless, since it expects repetitions, and on a lossy line many times faster.
    """

    def __init__(self, agreed_s: float | None) -> None:
        self._longest_s = agreed_s or MAX_RTO_S
        self._srtt: float | None = None
        self._var = 0.0
        self._base_s = min(FIRST_RTO_S, self._longest_s)
        self.rto_s = self._base_s
        self.patience_s = max(PATIENCE_S, 3 * (agreed_s or 0.0))

    def measured(self, rtt_s: float) -> None:
        if self._srtt is None:
            self._srtt, self._var = rtt_s, rtt_s / 2
        else:
            self._var += (abs(self._srtt - rtt_s) - self._var) / 4
            self._srtt += (rtt_s - self._srtt) / 8
        self._base_s = min(max(self._srtt + 4 * self._var, MIN_RTO_S), self._longest_s)

    @property
    def hole_s(self) -> float:
        return min(max((self._srtt or 0.0) * 1.5, MIN_HOLE_S), MAX_HOLE_S)

    def heard(self) -> None:
        """Something new was acknowledged: end any back-off."""
        self.rto_s = self._base_s

    def back_off(self) -> None:
        self.rto_s = min(self.rto_s * 2, self._longest_s)
