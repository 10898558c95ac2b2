"""The renderer's own process: templates run here, with bounds on memory, time and output, and can be killed.

    python -m provisioner.catalog.renderchild FD

FD is a socket to the daemon. Both ways go frames: four octets of length, then one message (msgpack). Requests are
answered in their order. One that brings templates, compiled, replaces those that were brought
before, whole; nothing is compiled here. Passwords come as they are, and are hashed here.
"""

from __future__ import annotations

import ctypes
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import msgspec

from provisioner.catalog.crypt import Unhashed, sha512_crypt
from provisioner.catalog.render import Compiled
from provisioner.errors import RefusedError, RenderError

MAX_MEMORY_BYTES = 256 << 20
"""Address space, of which the interpreter and all templates take some 60 MiB."""
MAX_CPU_S = 2.0
"""Of one rendering. A large answer file takes a millisecond."""
HELD_S = 0.05
"""For how long answers wait for others at most."""
MAX_FRAME_BYTES = 16 << 20
HASHES = 1024
"""Kept: the files of one boot have the same hashes."""
_PR_SET_PDEATHSIG = 1
_PASSWORD = 1
"""The extension type of a password and its salt in a message."""


def _packed(value: object) -> msgspec.msgpack.Ext:
    if not isinstance(value, Unhashed):
        raise TypeError(f"a value of type {type(value).__name__}")
    return msgspec.msgpack.Ext(_PASSWORD, msgspec.msgpack.encode((value.password, value.salt)))


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_packed)


class Load(msgspec.Struct, frozen=True, tag="load", array_like=True):
    """These are the templates from now on, compiled."""

    codes: Mapping[str, bytes]


class Render(msgspec.Struct, frozen=True, tag="render", array_like=True):
    """Render one."""

    template: str
    context: dict[str, Any]


class Rendered(msgspec.Struct, frozen=True, tag="rendered", array_like=True):
    """What came out."""

    text: str


class Failed(msgspec.Struct, frozen=True, tag="failed", array_like=True):
    """Why nothing came out."""

    message: str
    hint: str = ""
    refused: bool = False
    """The template says so itself (`fail`): no fault of it."""
    bound: bool = False
    """It took too long or too much memory."""


def error_of(failed: Failed) -> RenderError:
    """Give what is to be raised where the answer was waited for."""
    return (RefusedError if failed.refused else RenderError)(failed.message, hint=failed.hint)


Request = Load | Render
Answer = Rendered | Failed


class _TooLong(RenderError):
    """The time is up."""


def _time_is_up(number: int, frame: object) -> NoReturn:
    raise _TooLong(f"took more than {MAX_CPU_S:.0f} s of processor time")


class Child:
    """One renderer and what it was asked."""

    def __init__(self) -> None:
        self._compiled = Compiled({})
        self._hashed = lru_cache(HASHES)(sha512_crypt)
        self._decoder = msgspec.msgpack.Decoder(Request, ext_hook=self._unpacked)

    def read(self, frame: bytes) -> Request:
        """Read one message."""
        request: Request = self._decoder.decode(frame)
        return request

    def _unpacked(self, kind: int, content: memoryview) -> str:
        assert kind == _PASSWORD
        return self._hashed(*msgspec.msgpack.decode(content, type=tuple[str, str]))

    def answer(self, request: Request) -> Answer:
        """Do what one message asks."""
        match request:
            case Load(codes):
                self._compiled = Compiled(codes)
                return Rendered("")
            case Render(template, context):
                return self._render(template, context)

    def _render(self, template: str, context: Mapping[str, Any]) -> Answer:
        signal.setitimer(signal.ITIMER_PROF, MAX_CPU_S)
        try:
            return Rendered(self._compiled.render(template, context, checked=True))
        except RenderError as error:
            return Failed(error.message, error.hint, isinstance(error, RefusedError), isinstance(error, _TooLong))
        except MemoryError:
            return Failed(f"templates/{template}: takes more than {MAX_MEMORY_BYTES >> 20} MiB of memory", bound=True)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def confine() -> None:
    """Bound what this process can take, and end with the daemon."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGPROF, _time_is_up)


def serve(sock: socket.socket) -> None:
    """Answer until the daemon hangs up. Answers to requests that came together leave together, unless that takes long:
    the daemon waits for each as long as one may take.
    """
    child = Child()
    encoder = msgspec.msgpack.Encoder()
    buffer = bytearray()
    while data := sock.recv(1 << 18):
        buffer += data
        answers, due = bytearray(), time.monotonic() + HELD_S
        while (frame := take_frame(buffer)) is not None:
            body = encoder.encode(child.answer(child.read(frame)))
            answers += len(body).to_bytes(4, "big") + body
            if time.monotonic() > due:
                sock.sendall(answers)
                answers, due = bytearray(), time.monotonic() + HELD_S
        if answers:
            sock.sendall(answers)


def frame_of(request: Request) -> bytes:
    """Pack one message with its length before it; raise `RenderError` where that cannot be."""
    try:
        body = _ENCODER.encode(request)
    except (TypeError, ValueError) as error:
        raise RenderError(f"cannot be given to a template: {error}") from error
    if len(body) > MAX_FRAME_BYTES:
        raise RenderError(f"a context of {len(body)} octets, at most {MAX_FRAME_BYTES}")
    return len(body).to_bytes(4, "big") + body


def take_frame(buffer: bytearray) -> bytes | None:
    """Take one whole frame out of what was received; None where there is none yet."""
    if len(buffer) < 4:
        return None
    end = 4 + int.from_bytes(buffer[:4], "big")
    if len(buffer) < end:
        return None
    frame = bytes(buffer[4:end])
    del buffer[:end]
    return frame


def main() -> None:
    """Run as a child of the daemon."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    confine()
    serve(sock)


if __name__ == "__main__":
    main()
