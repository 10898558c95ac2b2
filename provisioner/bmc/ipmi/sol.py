"""Serial over LAN as a value machine (IPMI 2.0 section 15.9, table 15-2). No I/O: time comes in, packets go out.

receive(payload, now)   a SOL payload from the BMC; hand what it returns to the reader
type(data), send_break()
payloads_to_send(now)   what has to go out
get_timer()             when handle_timer wants to be called
"""

from __future__ import annotations

from dataclasses import dataclass, field

from provisioner.errors import BmcProtocolError, BmcUnreachable

RETRY_S = 1.0
MAX_TRIES = 8
MAX_TYPED = 64 << 10
"""Keys that wait for the BMC: a pasted file of 64 KiB takes a minute at 9600 baud."""

_NACK, _UNAVAILABLE, _DEACTIVATED, _BREAK = 0x40, 0x20, 0x10, 0x10
_HEAD = 4


@dataclass(slots=True)
class Sol:
    """One end of a console. `chunk` is how many characters the BMC takes in one packet."""

    chunk: int
    lost: str = ""
    """Why the line is gone; empty while it is up."""
    _sequence: int = 0
    _heard: int = 0
    _heard_count: int = 0
    _typed: bytearray = field(default_factory=bytearray)
    _breaks: int = 0
    _flying: bytes = b""
    _tries: int = 0
    _due: float | None = None
    _outbox: list[bytes] = field(default_factory=list)

    def type(self, data: bytes) -> None:
        """Take keys; raise `BmcProtocolError` when the BMC has not taken those before."""
        if len(self._typed) + len(data) > MAX_TYPED:
            raise BmcProtocolError(f"{len(self._typed)} characters wait for the console already; it takes none")
        self._typed += data

    def send_break(self) -> None:
        """Have the BMC send a serial break."""
        self._breaks += 1

    def receive(self, payload: bytes, now: float) -> bytes:
        """Take a payload; return what the machine printed in it. A repeated packet yields only what is new."""
        if len(payload) < _HEAD:
            return b""
        sequence, acked, count, status = payload[0] & 0x0F, payload[1] & 0x0F, payload[2], payload[3]
        if acked and acked == self._sequence and self._flying:
            self._take_answer(count, status, now)
        if status & _DEACTIVATED:
            self.lost = "the BMC ended the console"
        return self._take_output(sequence, payload[_HEAD:]) if sequence else b""

    def _take_output(self, sequence: int, data: bytes) -> bytes:
        new = data[self._heard_count :] if sequence == self._heard else data
        self._heard, self._heard_count = sequence, len(data)
        self._outbox.append(bytes((0, sequence, len(data), 0)))
        return bytes(new)

    def _take_answer(self, count: int, status: int, now: float) -> None:
        """The BMC took `count` of the characters under way; what it did not take goes again."""
        sent = self._flying[_HEAD:]
        self._flying, self._due, self._tries = b"", None, 0
        self._typed[:0] = sent[count:]
        if status & _NACK and status & _UNAVAILABLE:  # the machine is off and takes nothing: do not press on
            self._due = now + RETRY_S

    def payloads_to_send(self, now: float) -> list[bytes]:
        """Return acknowledgements, and the next keys when the last ones were taken."""
        if not self._flying and self._due is None and (self._typed or self._breaks) and not self.lost:
            self._launch(now)
        sent, self._outbox = self._outbox, []
        return sent

    def _launch(self, now: float) -> None:
        self._sequence = self._sequence % 15 + 1
        operation = 0
        if self._breaks:
            self._breaks -= 1
            operation = _BREAK
        data = bytes(self._typed[: self.chunk])
        del self._typed[: self.chunk]
        self._flying = bytes((self._sequence, 0, 0, operation)) + data
        self._tries, self._due = 1, now + RETRY_S
        self._outbox.append(self._flying)

    def get_timer(self) -> float | None:
        """Return when to call `handle_timer`; None when nothing is under way."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """Send again what was not answered; give up after eight tries."""
        if self._due is None or now < self._due:
            return
        if not self._flying:  # a pause after "not now" is over
            self._due = None
            return
        if self._tries >= MAX_TRIES:
            self.lost = f"no answer to {MAX_TRIES} packets"
            self._flying, self._due = b"", None
            return
        self._tries += 1
        self._due = now + RETRY_S
        self._outbox.append(self._flying)

    def raise_if_lost(self, where: str) -> None:
        """Raise `BmcUnreachable` when the line is gone."""
        if self.lost:
            raise BmcUnreachable(f"{where}: console: {self.lost}")
