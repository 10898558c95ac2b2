"""What the daemon and the IPMI worker say to each other, and how it is framed. No I/O.

A frame is a length (four octets, big-endian) and that many octets of MessagePack. Passwords travel in here and nowhere
else: the messages hide them from `repr`, and a worker's command line and environment never hold one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec

from provisioner.errors import WireError

MAX_FRAME = 1 << 20  # the largest answer is a full event log: boards keep 512 to 4096 entries, of 100 to 300 octets
ROWS_SIZE = MAX_FRAME - 64  # beside the rows: what kind of answer it is, its id, how many
LENGTH_SIZE = 4


class Target(msgspec.Struct, frozen=True):
    """One BMC and the account that is used there."""

    host: str
    port: int
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Target({self.username}@{self.host}:{self.port})"


class Command(msgspec.Struct, frozen=True, tag=True):
    """Send one IPMI request. `repeat` says that it may be sent again when its answer is lost."""

    id: int
    target: Target
    netfn: int
    command: int
    data: bytes = b""
    repeat: bool = True
    timeout_s: float = 30.0
    lun: int = 0


class Forget(msgspec.Struct, frozen=True, tag=True):
    """Close the session with this BMC."""

    id: int
    target: Target


class GiveUp(msgspec.Struct, frozen=True, tag=True):
    """Nobody waits for command `id` any more: if it was not sent yet it is not sent. Not answered."""

    id: int


class Subject(StrEnum):
    """What takes many requests to read, and a library to understand."""

    SENSORS = "sensors"
    EVENTS = "events"
    PARTS = "parts"


MAX_STUDIES = 8
"""Studies at once, a thread each; more wait. A board gives some 300 records a second, a study takes a second or two."""


class Study(msgspec.Struct, frozen=True, tag=True):
    """Read all of one subject. Answered by `Rows`."""

    id: int
    target: Target
    subject: Subject
    timeout_s: float = 60.0


class OpenConsole(msgspec.Struct, frozen=True, tag=True):
    """Open the machine's serial console. `take_over` ends another's console, where there is one.

    Answered by `Answer`, then by `Output` as it comes, at last by `Failed`. Keys and the end are sent with its id.
    """

    id: int
    target: Target
    take_over: bool = False


class Keys(msgspec.Struct, frozen=True, tag=True):
    """Type into console `id`; `brk` sends a serial break first. Not answered."""

    id: int
    data: bytes = b""
    brk: bool = False


class CloseConsole(msgspec.Struct, frozen=True, tag=True):
    """End console `id`. Not answered but by its `Failed`."""

    id: int


class Output(msgspec.Struct, frozen=True, tag=True):
    """What the machine printed on console `id`."""

    id: int
    data: bytes


class SensorRow(msgspec.Struct, frozen=True, tag=True):
    """One sensor. `health` is pyghmi's: 0 is well, 1 warns, 2 and 4 are critical."""

    name: str
    value: float | None
    unit: str
    health: int
    states: list[str]
    kind: str = ""


class EventRow(msgspec.Struct, frozen=True, tag=True):
    """One entry of the system event log."""

    number: int
    text: str
    at: str
    health: int
    sensor: str


class PartRow(msgspec.Struct, frozen=True, tag=True):
    """One field-replaceable unit and what is written in it."""

    name: str
    fields: dict[str, str]


Row = SensorRow | EventRow | PartRow


class Rows(msgspec.Struct, frozen=True, tag=True):
    """What a study found."""

    id: int
    rows: list[Row]


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What the BMC answered: completion code and data (IPMI 2.0 section 5.2)."""

    id: int
    code: int
    data: bytes


class Trouble(StrEnum):
    """Why there is no answer."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    AUTH = "auth"
    PRIVILEGE = "privilege"
    BUSY = "busy"
    PROTOCOL = "protocol"
    UNSUPPORTED = "unsupported"
    CLOSED = "closed"


class Failed(msgspec.Struct, frozen=True, tag=True):
    """There is no answer. `said` is what is known of why, in words; `sent`: the BMC may have done what was asked."""

    id: int
    trouble: Trouble
    said: str
    sent: bool = False


Request = Command | GiveUp | Forget | Study | OpenConsole | Keys | CloseConsole
Reply = Answer | Rows | Failed | Output

M = TypeVar("M")

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def frame(message: Request | Reply) -> bytes:
    """Encode a message with its length in front."""
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_SIZE, "big") + body


def rows(id: int, found: Sequence[Row], *, newest: bool = False) -> Rows:
    """Answer with as many rows as a frame holds, the first or (`newest`) the last: a board says how large they are."""
    fitting: list[Row] = []
    left = ROWS_SIZE
    for row in reversed(found) if newest else found:
        left -= len(_encoder.encode(row))
        if left < 0:
            break
        fitting.append(row)
    return Rows(id, fitting[::-1] if newest else fitting)


def frame_size(head: bytes) -> int:
    """Read the length that stands before a body; raise `WireError` beyond `MAX_FRAME`."""
    size = int.from_bytes(head, "big")
    if size > MAX_FRAME:
        raise WireError(f"a frame of {size} bytes; at most {MAX_FRAME} are read")
    return size


def decode_request(body: bytes) -> Request:
    """Read what the daemon asks."""
    return _decode(_requests, body)


def decode_reply(body: bytes) -> Reply:
    """Read what the worker answers."""
    return _decode(_replies, body)


def _decode(decoder: msgspec.msgpack.Decoder[M], body: bytes) -> M:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise WireError(f"not a message: {error}") from error
