"""IPMI messages as they travel over LAN and over KCS (IPMI v2.0 sections 13.8 and 9.2). No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from provisioner.errors import LabError, WireError
from provisioner.wire import Cursor

BMC = 0x20


class NetFn(IntEnum):
    """Network functions of requests (table 5-1); a response has the next odd number."""

    CHASSIS = 0x00
    SENSOR = 0x04
    APP = 0x06
    STORAGE = 0x0A
    TRANSPORT = 0x0C


class Code(IntEnum):
    """Completion codes (table 5-2)."""

    OK = 0x00
    PAYLOAD_ACTIVE = 0x80  # Activate Payload: already active on another session
    NOT_FOUND = 0x80  # Get Boot Options, LAN and SOL parameters: no such parameter
    READ_ONLY = 0x82
    BUSY = 0xC0
    INVALID_COMMAND = 0xC1
    LENGTH = 0xC7
    NO_SUCH_RECORD = 0xCB
    INVALID_FIELD = 0xCC
    PRIVILEGE = 0xD4
    WRONG_STATE = 0xD5
    UNSPECIFIED = 0xFF


class Refused(LabError):
    """A command ends with this completion code and no data."""

    def __init__(self, code: int) -> None:
        super().__init__(f"completion code {code:#04x}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """One command. `responder`, `requester`, `sequence` and the LUNs go back as they came."""

    netfn: int
    command: int
    data: bytes = b""
    sequence: int = 0
    requester: int = 0x81
    requester_lun: int = 0
    responder: int = BMC
    responder_lun: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """What a command answers."""

    code: int
    data: bytes = b""


def checksum(data: bytes) -> int:
    """The 2's complement checksum of section 13.8."""
    return -sum(data) & 0xFF


def decode_request(payload: bytes) -> Request:
    """Read a request from a LAN payload; raise `WireError`."""
    cursor = Cursor(payload)
    responder, function, head = cursor.take(3)
    requester, order, command = cursor.take(3)
    data = cursor.take(cursor.left - 1)
    if checksum(payload[:2]) != head or checksum(payload[3:-1]) != payload[-1]:
        raise WireError("wrong IPMI checksum")
    return Request(
        function >> 2, command, data, order >> 2, requester, order & 3, responder, function & 3
    )  # fmt: skip


def encode_request(request: Request) -> bytes:
    """Write a request as a console does."""
    head = bytes((request.responder, request.netfn << 2 | request.responder_lun))
    order = request.sequence << 2 | request.requester_lun
    return _checked(head) + _checked(bytes((request.requester, order, request.command)) + request.data)


def encode_response(request: Request, response: Response) -> bytes:
    """Write the response to `request`."""
    head = bytes((request.requester, (request.netfn | 1) << 2 | request.requester_lun))
    order = request.sequence << 2 | request.responder_lun
    return _checked(head) + _checked(bytes((request.responder, order, request.command, response.code)) + response.data)


def _checked(data: bytes) -> bytes:
    return data + bytes((checksum(data),))
