"""Rendering in a process of its own for who has no loop, such as `lint`: the daemon's own process, with its bounds."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from provisioner.catalog.renderchild import (
    Answer,
    Failed,
    Load,
    Render,
    Rendered,
    Request,
    error_of,
    frame_of,
    take_frame,
)
from provisioner.catalog.renderer import START_S, WALL_S
from provisioner.errors import RenderError


class BoundedRenderer:
    """One renderer process, asked for a text at a time. Use as `with BoundedRenderer(codes) as renderer`."""

    def __init__(self, codes: Mapping[str, bytes], *, wall_s: float = WALL_S) -> None:
        self._codes = codes
        self._wall_s = wall_s
        self._decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: socket.socket | None = None
        self._given_up: dict[str, RenderError] = {}
        """Templates that took the process down, and why: with another machine's values they would do so again."""

    def __enter__(self) -> BoundedRenderer:
        """Start the process; it has the templates when this returns."""
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._end()

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        """Render one template; raise `RenderError`, also where it takes too long or too much."""
        if template in self._given_up:
            raise self._given_up[template]
        if self._pipe is None:  # it did not start the last time
            self._start()
        try:
            answer = self._ask(Render(template, dict(context)), self._wall_s)
        except (TimeoutError, ConnectionError) as error:
            late = isinstance(error, TimeoutError)
            why = f"did not end within {self._wall_s:g} s" if late else "took too much memory"
            self._given_up[template] = RenderError(f"templates/{template}: the rendering {why}")
            self._end()
            self._start()
            raise self._given_up[template] from error
        match answer:
            case Rendered(text):
                return text
            case Failed(bound=True):
                self._given_up[template] = error_of(answer)
        raise error_of(answer)

    def _ask(self, request: Request, limit_s: float) -> Answer:
        assert self._pipe is not None, "use it in a `with`"
        frame = frame_of(request)
        self._pipe.settimeout(limit_s)
        self._pipe.sendall(frame)
        buffer = bytearray()
        while (body := take_frame(buffer)) is None:
            data = self._pipe.recv(1 << 18)
            if not data:
                raise ConnectionResetError
            buffer += data
        return self._decoder.decode(body)

    def _start(self) -> None:
        self._pipe, theirs = socket.socketpair()
        command = [sys.executable, "-m", "provisioner.catalog.renderchild", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        try:
            self._ask(Load(self._codes), START_S)
        except (TimeoutError, ConnectionError) as error:
            self._end()
            raise RenderError("the renderer does not start") from error
        except RenderError:  # more than one message holds
            self._end()
            raise

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._pipe = self._process = None
