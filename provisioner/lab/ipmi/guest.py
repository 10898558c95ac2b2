"""How QEMU's ipmi-bmc-extern carries the guest's KCS messages: OpenIPMI's "VM" serial protocol. No I/O.

Messages and commands end with a marker byte; marker values inside are escaped (QEMU hw/ipmi/ipmi_bmc_extern.c).
"""

from __future__ import annotations

from provisioner.lab.ipmi.message import Request, Response, checksum

MESSAGE = 0xA0
COMMAND = 0xA1
ESCAPE = 0xAA
MARKERS = frozenset({MESSAGE, COMMAND, ESCAPE})
FLIP = 0x10
LONGEST = 512
"""A KCS message has at most 255 bytes; what grows beyond this is dropped up to the next marker."""
SHORTEST = 4
NO_LUN = 0xFC


class Decoder:
    """Collects bytes until a message is complete. Commands (power state notes of QEMU) are read over."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._escaped = False

    def feed(self, data: bytes) -> list[Request]:
        """The requests that these bytes complete; what is damaged is left out."""
        found = []
        for byte in data:
            if byte == MESSAGE:
                request = _decode(bytes(self._buffer))
                if request is not None:
                    found.append(request)
            if byte in (MESSAGE, COMMAND):
                self._buffer.clear()
                self._escaped = False
            elif byte == ESCAPE:
                self._escaped = True
            elif len(self._buffer) < LONGEST:
                self._buffer.append(byte & ~FLIP if self._escaped else byte)
                self._escaped = False
        return found


def _decode(message: bytes) -> Request | None:
    """Sequence, network function, command, data, checksum over all."""
    if len(message) < SHORTEST or checksum(message[:-1]) != message[-1]:
        return None
    sequence, function, command = message[:3]
    return Request(function >> 2, command, message[3:-1], sequence, responder_lun=function & ~NO_LUN)


def encode_request(request: Request) -> bytes:
    """What QEMU sends for a guest's command."""
    return _framed(
        bytes((request.sequence, request.netfn << 2 | request.responder_lun, request.command)) + request.data
    )


def encode_response(request: Request, response: Response) -> bytes:
    """What the guest gets back."""
    function = (request.netfn | 1) << 2 | request.responder_lun
    return _framed(bytes((request.sequence, function, request.command, response.code)) + response.data)


def _framed(message: bytes) -> bytes:
    whole = message + bytes((checksum(message),))
    return b"".join(bytes((ESCAPE, one | FLIP)) if one in MARKERS else bytes((one,)) for one in whole) + b"\xa0"
