"""One IPMI command as its handler sees it, and the shapes of the tables that hold the handlers. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from provisioner.lab.board import Board, Role
from provisioner.lab.ipmi.message import Code, Refused

LAN_CHANNEL = 1
SYSTEM_CHANNEL = 0x0F
THIS_CHANNEL = 0x0E


class Caller:
    """Who asks: a session over LAN, or the guest over its system interface."""

    def __init__(self, channel: int, role: Role, limit: Role, session: int = 0) -> None:
        self.channel = channel
        self.role = role
        self.limit = limit
        self.session = session
        self.closing = False
        self.console_wanted: bool | None = None
        """True: Activate Payload was accepted; False: Deactivate Payload."""


GUEST = Role.ADMINISTRATOR
"""The system interface has no users: whoever is root in the guest may do everything (section 6.9)."""


@dataclass(frozen=True, slots=True)
class Call:
    """A command with its data, who asks, and the board that is asked. `now` is in seconds since the epoch."""

    board: Board
    caller: Caller
    data: bytes
    now: float
    consoles: Mapping[int, int]
    """Sessions that hold the serial console: instance number to session id."""

    def byte(self, index: int, default: int | None = None) -> int:
        """Byte `index` of the request; refuses a request that is too short."""
        if index < len(self.data):
            return self.data[index]
        if default is None:
            raise Refused(Code.LENGTH)
        return default

    def bytes_from(self, index: int, count: int) -> bytes:
        """Exactly `count` bytes from `index` on."""
        if len(self.data) < index + count:
            raise Refused(Code.LENGTH)
        return self.data[index : index + count]

    def channel(self, index: int = 0) -> int:
        """The channel that a request names; refuses one that the board does not have."""
        number = self.byte(index) & 0x0F
        if number == THIS_CHANNEL:
            return self.caller.channel
        if number not in (LAN_CHANNEL, SYSTEM_CHANNEL):
            raise Refused(Code.INVALID_FIELD)
        return number


Handler = Callable[[Call], bytes]
"""Answers the data behind the completion code, or raises `Refused`."""

Table = Mapping[tuple[int, int], tuple[Role | None, Handler]]
"""(network function, command) to the role that it takes (None: also before a session) and its handler."""


def little(number: int, size: int) -> bytes:
    """IPMI's byte order."""
    return number.to_bytes(size, "little")


def guid(text: str) -> bytes:
    """The system GUID in SMBIOS byte order, as current boards send it (the specification wants it all reversed)."""
    return uuid.UUID(text).bytes_le
