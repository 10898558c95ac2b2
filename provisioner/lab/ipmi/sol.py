"""Serial over LAN: one packet at a time in each direction, acknowledged (IPMI v2.0 section 15.9). No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.errors import WireError
from provisioner.wire import Cursor

DATA_BYTES = 240
"""What one packet carries: below the payload size that Activate Payload promises."""
BUFFER_BYTES = 64 * 1024
"""Output kept for a console that does not keep up; then the oldest is dropped. A whole kernel boot prints 60 kB."""
RETRY_S = 0.5
RETRIES = 8
"""A console that acknowledges nothing for four seconds has gone."""
NACK = 0x40
DEACTIVATING = 0x08


@dataclass(frozen=True, slots=True)
class SolPacket:
    """One SOL payload (table 15-2). `sequence` 0 carries no data, only an acknowledgement."""

    sequence: int = 0
    acknowledged: int = 0
    accepted: int = 0
    status: int = 0
    data: bytes = b""


def decode(payload: bytes) -> SolPacket:
    """Read a SOL payload; raise `WireError`."""
    cursor = Cursor(payload)
    sequence, acknowledged, accepted, status = cursor.take(4)
    if sequence > 15 or acknowledged > 15:
        raise WireError(f"SOL sequence numbers {sequence}, {acknowledged}: at most 15")
    return SolPacket(sequence, acknowledged, accepted, status, cursor.rest())


def encode(packet: SolPacket) -> bytes:
    return bytes((packet.sequence, packet.acknowledged, packet.accepted, packet.status)) + packet.data


class Sol:
    """The BMC's end of one activated console: bytes in from the guest, packets out to the console, and back."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._sequence = 0
        self._in_flight: bytes | None = None
        self._tries = 0
        self._due: float | None = None
        self._last_heard = 0
        self._out: list[bytes] = []
        self.is_lost = False

    @property
    def waiting(self) -> int:
        """Bytes that the console has not taken yet."""
        return len(self._buffer)

    def guest_printed(self, data: bytes, now: float) -> None:
        """Take output of the guest."""
        self._buffer += data
        del self._buffer[:-BUFFER_BYTES]
        self._send_next(now)

    def receive(self, payload: bytes, now: float) -> bytes:
        """Take a packet of the console; returns the keys in it. Raise `WireError`."""
        packet = decode(payload)
        if self._in_flight is not None and packet.acknowledged == self._sequence:
            self._acknowledged(packet, now)
        if not packet.sequence:
            return b""
        self._out.append(encode(SolPacket(0, packet.sequence, len(packet.data))))
        fresh = packet.sequence != self._last_heard
        self._last_heard = packet.sequence
        return packet.data if fresh else b""

    def _acknowledged(self, packet: SolPacket, now: float) -> None:
        assert self._in_flight is not None
        if packet.status & NACK or packet.accepted < len(self._in_flight):
            self._buffer[:0] = self._in_flight[packet.accepted :]
        self._in_flight = self._due = None
        self._send_next(now)

    def _send_next(self, now: float) -> None:
        if self._in_flight is not None or not self._buffer:
            return
        self._sequence = self._sequence % 15 + 1
        self._in_flight = bytes(self._buffer[:DATA_BYTES])
        del self._buffer[:DATA_BYTES]
        self._tries = 0
        self._transmit(now)

    def _transmit(self, now: float) -> None:
        assert self._in_flight is not None
        self._tries += 1
        self._due = now + RETRY_S
        self._out.append(encode(SolPacket(self._sequence, 0, 0, 0, self._in_flight)))

    def get_timer(self) -> float | None:
        """When `handle_timer` has to be called, on the clock of `now`."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """Send again what was not acknowledged, or give the console up."""
        if self._due is None or now < self._due:
            return
        if self._tries > RETRIES:
            self.is_lost, self._due = True, None
        else:
            self._transmit(now)

    def payloads_to_send(self) -> list[bytes]:
        out, self._out = self._out, []
        return out
