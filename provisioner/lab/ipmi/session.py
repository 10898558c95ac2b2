"""The LAN side of one BMC as a value machine: RAKP handshake, sessions, commands, serial console. No I/O.

IPMI v2.0 sections 13.15 to 13.26. `receive_datagram`, `datagrams_to_send`, `get_timer`, `handle_timer`; time comes in
as `now`, random bytes from the callable given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from provisioner.errors import WireError
from provisioner.lab.board import ROLES, Board, Role
from provisioner.lab.faults import Fault
from provisioner.lab.ipmi import packet as wire
from provisioner.lab.ipmi.call import LAN_CHANNEL, Caller, guid
from provisioner.lab.ipmi.commands import changes_something, respond
from provisioner.lab.ipmi.crypto import Exchange, Keys, Suite, suites_of
from provisioner.lab.ipmi.message import Request, Response, decode_request, encode_response
from provisioner.lab.ipmi.packet import Packet, Payload, Ping, Plain, Plus
from provisioner.lab.ipmi.sol import Sol
from provisioner.wire import Cursor

Peer = tuple[str, int]

SESSIONS = 16
"""Open sessions, and handshakes under way: each at most this many; a flood pushes out the oldest handshake."""
IDLE_S = 60.0
"""A session that says nothing this long is closed (section 6.12.15)."""
RECENT = 32
"""Sequence numbers remembered to drop what comes twice (the window of section 6.12.13 is 16)."""


class Status:
    """RMCP+ status codes (table 13-15)."""

    OK = 0x00
    NO_RESOURCES = 0x01
    BAD_SESSION = 0x02
    BAD_ROLE = 0x09
    NO_USER = 0x0D
    BAD_CODE = 0x0F
    NO_SUITE = 0x11


@dataclass(slots=True)
class Handshake:
    """A session that is being opened."""

    suite: Suite
    console_id: bytes
    bmc_id: bytes
    since: float
    exchange: Exchange | None = None
    limit: Role = Role.NONE


@dataclass(slots=True)
class Session:
    """An open session. `peer` is where its packets go: where the last good one came from."""

    console_id: int
    keys: Keys
    caller: Caller
    peer: Peer
    heard: float
    sequence: int = 0
    seen: list[int] = field(default_factory=list)
    last: tuple[Request, Response] | None = None


class Lan:
    """One BMC's UDP port."""

    def __init__(self, board: Board, random: Callable[[int], bytes]) -> None:
        self.board = board
        self.rejected = 0
        self._random = random
        self._handshakes: dict[int, Handshake] = {}
        self._sessions: dict[int, Session] = {}
        self._out: list[tuple[bytes, Peer]] = []
        self._console: tuple[int, Sol] | None = None
        self._now = 0.0

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    @property
    def console_is_active(self) -> bool:
        return self._console is not None

    def datagrams_to_send(self) -> list[tuple[bytes, Peer]]:
        out, self._out = self._out, []
        return out

    def get_timer(self) -> float | None:
        """When `handle_timer` has to be called."""
        return self._console[1].get_timer() if self._console else None

    def handle_timer(self, now: float) -> None:
        if self._console:
            self._console[1].handle_timer(now)
            self._flush_console()

    def guest_printed(self, data: bytes, now: float) -> None:
        """Carry the guest's serial output to the session that holds the console."""
        if self._console:
            self._console[1].guest_printed(data, now)
            self._flush_console()

    def receive_datagram(self, data: bytes, peer: Peer, now: float) -> None:
        """Take what came; whatever it is, nothing worse happens than a count of what was rejected."""
        if self.board.faults.on(Fault.DEAD) or self.board.faults.loses_packet():
            return
        self._now = now
        self._expire()
        try:
            self._dispatch(wire.decode(data), peer)
        except WireError:
            self.rejected += 1

    def _expire(self) -> None:
        for number, session in tuple(self._sessions.items()):
            if self._now - session.heard > IDLE_S:
                self._close(number)
        for number, handshake in tuple(self._handshakes.items()):
            if self._now - handshake.since > IDLE_S:
                del self._handshakes[number]

    def _dispatch(self, packet: Packet, peer: Peer) -> None:
        match packet:
            case Ping():
                self._out.append((wire.encode_pong(packet.tag), peer))
            case Plain():
                answer = self._answer_unknown(packet.payload)
                self._out.append((wire.encode_plain(Plain(answer)), peer))
            case Plus(session=0):
                self._before_session(packet, peer)
            case Plus():
                self._in_session(packet, peer)

    def _answer_unknown(self, payload: bytes) -> bytes:
        request = decode_request(payload)
        return encode_response(request, respond(request, self.board, None, self._now, {}))

    def _before_session(self, packet: Plus, peer: Peer) -> None:
        answers = {
            Payload.OPEN_REQUEST: (Payload.OPEN_RESPONSE, self._open),
            Payload.RAKP1: (Payload.RAKP2, self._rakp1),
            Payload.RAKP3: (Payload.RAKP4, lambda cursor: self._rakp3(cursor, peer)),
            Payload.IPMI: (Payload.IPMI, lambda cursor: self._answer_unknown(cursor.rest())),
        }
        if packet.type not in answers:
            raise WireError(f"payload type {packet.type:#04x} outside a session")
        kind, answer = answers[Payload(packet.type)]
        self._out.append((wire.encode_plus(kind, answer(Cursor(packet.payload))), peer))

    def _open(self, cursor: Cursor) -> bytes:
        """Open Session Request (section 13.17)."""
        tag, _, _, _ = cursor.take(4)
        console_id = cursor.take(4)
        suite = self._pick(_algorithms(cursor))
        head = bytes((tag,))
        if suite is None:
            return head + bytes((Status.NO_SUITE, 0, 0)) + console_id
        if len(self._sessions) >= SESSIONS:
            return head + bytes((Status.NO_RESOURCES, 0, 0)) + console_id
        if len(self._handshakes) >= SESSIONS:
            del self._handshakes[next(iter(self._handshakes))]
        bmc_id = self._new_id()
        number = int.from_bytes(bmc_id, "little")
        self._handshakes[number] = Handshake(suite, console_id, bmc_id, self._now)
        chosen = enumerate((suite.authentication, suite.integrity, suite.confidentiality))
        algorithms = b"".join(bytes((kind, 0, 0, 8, algorithm, 0, 0, 0)) for kind, algorithm in chosen)
        return head + bytes((Status.OK, Role.ADMINISTRATOR, 0)) + console_id + bmc_id + algorithms

    def _pick(self, wanted: tuple[int | None, int | None, int | None]) -> Suite | None:
        for suite in reversed(suites_of(self.board.faults)):
            offered = (suite.authentication, suite.integrity, suite.confidentiality)
            if all(want in (None, have) for want, have in zip(wanted, offered, strict=True)):
                return suite
        return None

    def _new_id(self) -> bytes:
        while True:
            fresh = self._random(4)
            number = int.from_bytes(fresh, "little")
            if number and number not in self._sessions and number not in self._handshakes:
                return fresh

    def _rakp1(self, cursor: Cursor) -> bytes:
        """RAKP message 1 to 2 (section 13.20, 13.21)."""
        tag, _, _, _ = cursor.take(4)
        handshake = self._handshakes.get(int.from_bytes(cursor.take(4), "little"))
        console_random, role, _ = cursor.take(16), cursor.u8(), cursor.take(2)
        username = cursor.take(cursor.u8())
        head = bytes((tag,))
        if handshake is None:
            return head + bytes((Status.BAD_SESSION, 0, 0)) + bytes(4)
        account = self.board.accounts.named(username.decode("latin-1"))
        if account is None:
            return head + bytes((Status.NO_USER, 0, 0)) + handshake.console_id
        wanted = role & 0x0F
        if wanted not in ROLES or wanted > account.role:
            return head + bytes((Status.BAD_ROLE, 0, 0)) + handshake.console_id
        handshake.limit = Role(wanted)
        exchange = handshake.exchange = Exchange(
            handshake.suite, handshake.console_id, handshake.bmc_id, console_random, self._random(16),
            guid(self.board.chassis.hardware.identity.uuid), role, username, account.password.encode("latin-1"),
        )  # fmt: skip
        told = handshake.console_id + exchange.bmc_random + exchange.guid + exchange.rakp2()
        return head + bytes((Status.OK, 0, 0)) + told

    def _rakp3(self, cursor: Cursor, peer: Peer) -> bytes:
        """RAKP message 3 to 4 (sections 13.22, 13.23)."""
        tag, status, _, _ = cursor.take(4)
        number = int.from_bytes(cursor.take(4), "little")
        handshake = self._handshakes.pop(number, None)
        head = bytes((tag,))
        if handshake is None or handshake.exchange is None or status:
            return head + bytes((Status.BAD_SESSION, 0, 0)) + bytes(4)
        exchange = handshake.exchange
        if cursor.rest() != exchange.rakp3():
            return head + bytes((Status.BAD_CODE, 0, 0)) + handshake.console_id
        caller = Caller(LAN_CHANNEL, Role.USER, handshake.limit, number)
        console_id = int.from_bytes(handshake.console_id, "little")
        self._sessions[number] = Session(console_id, exchange.keys(), caller, peer, self._now)
        return head + bytes((Status.OK, 0, 0)) + handshake.console_id + exchange.rakp4()

    def _in_session(self, packet: Plus, peer: Peer) -> None:
        session = self._sessions.get(packet.session)
        if session is None:
            raise WireError(f"no session {packet.session:#010x}")
        payload = wire.open_sealed(packet, session.keys)
        if packet.sequence in session.seen:
            raise WireError(f"sequence {packet.sequence} came twice")
        session.seen = [*session.seen[-RECENT:], packet.sequence]
        session.peer, session.heard = peer, self._now
        match packet.type:
            case Payload.IPMI:
                self._command(session, decode_request(payload))
            case Payload.SOL:
                self._keys_typed(session, payload)
            case other:
                raise WireError(f"payload type {other:#04x} in a session")

    def _command(self, session: Session, request: Request) -> None:
        """Answer a command; one that is repeated because its answer was lost is not carried out again."""
        if session.last and session.last[0] == request:
            response = session.last[1]
        else:
            consoles = {1: self._console[0]} if self._console else {}
            response = respond(request, self.board, session.caller, self._now, consoles)
        session.last = (request, response) if changes_something(request) else None
        self._send(session, Payload.IPMI, encode_response(request, response))
        self._follow_up(session.caller)

    def _follow_up(self, caller: Caller) -> None:
        """What a command asked of the session itself."""
        if caller.console_wanted is not None:
            self._console = (caller.session, Sol()) if caller.console_wanted else None
            caller.console_wanted = None
        if caller.closing:
            self._close(caller.session)

    def _close(self, number: int) -> None:
        del self._sessions[number]
        if self._console and self._console[0] == number:
            self._console = None

    def _keys_typed(self, session: Session, payload: bytes) -> None:
        if self._console is None or self._console[0] != session.caller.session:
            raise WireError("SOL data of a session that does not hold the console")
        keys = self._console[1].receive(payload, self._now)
        if keys:
            self.board.chassis.hardware.console.type(keys)
        self._flush_console()

    def _flush_console(self) -> None:
        assert self._console is not None
        number, sol = self._console
        for payload in sol.payloads_to_send():
            self._send(self._sessions[number], Payload.SOL, payload)
        if sol.is_lost:
            self._console = None

    def _send(self, session: Session, kind: Payload, payload: bytes) -> None:
        session.sequence = session.sequence % 0xFFFFFFFF + 1
        sealed = wire.encode_sealed(
            kind, payload, session.console_id, session.sequence, session.keys, self._random(16)
        )  # fmt: skip
        self._out.append((sealed, session.peer))


def _algorithms(cursor: Cursor) -> tuple[int | None, int | None, int | None]:
    """The proposed algorithms (table 13-9); a length of 0 leaves the choice to the BMC."""
    wanted: dict[int, int | None] = {}
    while cursor.left:
        kind, _, _, size, algorithm, _, _, _ = cursor.take(8)
        wanted[kind] = algorithm & 0x3F if size else None
    return wanted.get(0), wanted.get(1), wanted.get(2)
