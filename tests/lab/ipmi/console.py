"""A console for tests, from the same codec: opens a session with a `Lan` and asks it commands, without any socket."""

from __future__ import annotations

import itertools

from provisioner.lab.board import Role
from provisioner.lab.ipmi import packet
from provisioner.lab.ipmi.call import guid
from provisioner.lab.ipmi.crypto import SUITE_17, Exchange, Keys, Suite
from provisioner.lab.ipmi.message import Request, Response, encode_request
from provisioner.lab.ipmi.packet import Payload, Plus
from provisioner.lab.ipmi.session import Lan
from tests.lab.boards import PASSWORD, USER, UUID

PEER = ("192.0.2.1", 40000)
CONSOLE_ID = b"\xa1\xa2\xa3\xa4"


class Random:
    """Bytes that are different each time, and the same in every run."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, size: int) -> bytes:
        return next(self._numbers).to_bytes(size, "little")


def exchange(lan: Lan, data: bytes, now: float = 0.0) -> list[bytes]:
    """Send one datagram; what comes back."""
    lan.receive_datagram(data, PEER, now)
    return [sent for sent, peer in lan.datagrams_to_send() if peer == PEER]


def plus(answers: list[bytes]) -> Plus:
    """The one RMCP+ packet that came back."""
    assert len(answers) == 1
    found = packet.decode(answers[0])
    assert isinstance(found, Plus)
    return found


def open_request(suite: Suite = SUITE_17, tag: int = 1) -> bytes:
    algorithms = enumerate((suite.authentication, suite.integrity, suite.confidentiality))
    proposal = b"".join(bytes((kind, 0, 0, 8, algorithm, 0, 0, 0)) for kind, algorithm in algorithms)
    return packet.encode_plus(Payload.OPEN_REQUEST, bytes((tag, 0, 0, 0)) + CONSOLE_ID + proposal)


class Console:
    """One console and its session."""

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        self.bmc_id = b""
        self.keys: Keys | None = None
        self._numbers = itertools.count(1)

    def log_in(
        self,
        *,
        suite: Suite = SUITE_17,
        user: str = USER,
        password: str = PASSWORD,
        role: int = Role.ADMINISTRATOR,
        now: float = 0.0,
    ) -> int:
        """Open a session; returns the first status code that is not 0."""
        opened = plus(exchange(self.lan, open_request(suite), now)).payload
        if opened[1]:
            return opened[1]
        self.bmc_id = opened[8:12]
        name = user.encode()
        rakp1 = bytes((2, 0, 0, 0)) + self.bmc_id + bytes(16) + bytes((role, 0, 0, len(name))) + name
        answer = plus(exchange(self.lan, packet.encode_plus(Payload.RAKP1, rakp1), now)).payload
        if answer[1]:
            return answer[1]
        assert answer[24:40] == guid(UUID)
        known = Exchange(
            suite, CONSOLE_ID, self.bmc_id, bytes(16), answer[8:24], guid(UUID), role, name, password.encode()
        )
        rakp3 = bytes((3, 0, 0, 0)) + self.bmc_id + known.rakp3()
        last = plus(exchange(self.lan, packet.encode_plus(Payload.RAKP3, rakp3), now)).payload
        if last[1] == 0:
            assert last[8:] == known.rakp4()
            assert answer[40:] == known.rakp2()
            self.keys = known.keys()
        return last[1]

    def seal(self, request: Request, sequence: int | None = None) -> bytes:
        """A command as it goes over the wire."""
        return self.seal_payload(Payload.IPMI, encode_request(request), sequence)

    def seal_payload(self, kind: Payload, payload: bytes, sequence: int | None = None) -> bytes:
        assert self.keys is not None
        number = next(self._numbers) if sequence is None else sequence
        session = int.from_bytes(self.bmc_id, "little")
        return packet.encode_sealed(kind, payload, session, number, self.keys, bytes(16))

    def opened(self, data: bytes) -> tuple[int, bytes]:
        """Type and payload of what the board sent."""
        assert self.keys is not None
        found = packet.decode(data)
        assert isinstance(found, Plus)
        assert found.session == int.from_bytes(CONSOLE_ID, "little")
        return found.type, packet.open_sealed(found, self.keys)

    def ask(self, netfn: int, command: int, data: bytes = b"", *, now: float = 0.0, sequence: int = 1) -> Response:
        """Give one command and read its answer."""
        answers = exchange(self.lan, self.seal(Request(netfn, command, data, sequence)), now)
        assert len(answers) == 1
        _, payload = self.opened(answers[0])
        return Response(payload[6], payload[7:-1])
