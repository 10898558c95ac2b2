"""Loaders and artefacts over HTTP: GET and HEAD, ranges, ETag, sendfile, never more at once than the machine bears."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import resource
import stat
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from provisioner.boot.files import ARTIFACTS, FileTable, Refused, ServedFile, printable
from provisioner.errors import ArtifactError, NotFoundError
from provisioner.model.net import Mac
from provisioner.model.trace import NOW, Channel, Observe, TraceLine
from provisioner.web.machines import address_of
from provisioner.web.ports import Route
from provisioner.web.ranges import Part, select
from provisioner.web.sender import Patience, Range, Sender, Sending
from provisioner.web.turns import Turns

log = logging.getLogger(__name__)

STEP_BYTES = 128 * 1024
"""Sent by the loop in one go. By TLS a client holds it three times over: plain, encrypted, on its way to the kernel."""
TLS_LEAST_BYTES = 16 * 1024
TLS_ALL_BYTES = 8 * STEP_BYTES
"""Encrypted for all clients together before the loop looks at anything else, DHCP say: one millisecond."""
OCTETS = "application/octet-stream"
MEDIA_TYPES = {
    # UEFI 2.10 section 24.7.3.1: firmware goes by these, or by the suffix where there is none of them
    ".efi": "application/efi",
    ".iso": "application/vnd.efi-iso",
    ".img": "application/vnd.efi-img",
}


LONG_BYTES = 1 << 20
"""Of a file of this size the beginning is told, too: it may take minutes, and waits for its turn first."""
BULK_BYTES = 128 * 1024 * 1024
"""Larger files are images and whole installers: what takes them waits and asks again, which firmware does not."""
DESCRIPTORS = 8
"""Of all descriptors that we may hold, a transfer takes four; half of them are for others."""


@dataclass(frozen=True, slots=True)
class FileBounds:
    """A transfer holds a socket buffer of up to 4 MiB in the kernel and next to nothing of ours."""

    transfers: int = 1024
    """Of files that machines boot from. UEFI gives up 5 s after it asked: nobody should wait for a turn."""
    images: int = 128
    """Of larger files, at once; the others wait in the order of their asking."""
    per_client: int = 32
    """Of one address, of either kind. Machines take two or three; who shares an address shares this."""
    wait_s: float = 20.0
    """How long a request may wait for its turn. Then it is told to come again."""
    patience: Patience = field(default_factory=Patience)


DEFAULT = FileBounds()
_ASKS = web.RequestKey("asks", Mac)


class Coming(Protocol):
    """A file that is given while it comes from elsewhere. `size_bytes` is None where nobody knows its length."""

    @property
    def size_bytes(self) -> int | None: ...

    def chunks(self) -> AsyncIterator[bytes]: ...


class Files:
    """Handlers over one table. `whose` names the machine that holds an address, for the trace.

    `rate` is what files may take of the link, in bytes a second; 0: all of it.
    """

    def __init__(
        self,
        table: FileTable,
        *,
        observe: Observe,
        whose: Callable[[str], Mac | None] = lambda _address: None,
        bounds: FileBounds = DEFAULT,
        rate: float = 0.0,
    ) -> None:
        self._table, self._observe, self._whose, self._bounds = table, observe, whose, bounds
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        places = max(1, soft // DESCRIPTORS)
        self._turns = Turns(min(bounds.transfers, places), bounds.per_client)
        self._images = Turns(min(bounds.images, max(1, places // 2)), bounds.per_client)
        self._sender = Sender(rate=rate)
        self._crowd = _Crowd()
        self.sent_to: Counter[str] = Counter()
        """How much to boot each address is sent now, or waits for."""
        self.serves: Callable[[str], bool] = lambda _address: True
        """Says whether whoever holds an address is given artefacts."""

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        return tuple(
            Route(method, f"{prefix}{{name:.*}}", handler)
            for prefix, handler in (("/files/", self.file), ("/artifacts/", self.artifact))
            for method in ("GET", "HEAD")
        )

    def close(self) -> None:
        """End the threads that send."""
        self._sender.close()

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Serve a loader by its name in the table."""
        return await self._serve(request, request.match_info["name"])

    async def artifact(self, request: web.Request) -> web.StreamResponse:
        """Serve an artefact: BOOTENV/ARCH/NAME."""
        name = request.match_info["name"]
        if not self.serves(address_of(request)):
            raise self.refusal(request, f"{ARTIFACTS}{printable(name)}: the run that it is for was ended")
        return await self._serve(request, ARTIFACTS + name)

    async def _serve(self, request: web.Request, name: str) -> web.StreamResponse:
        file = self._table.find(name)
        if isinstance(file, Refused):
            raise self.refusal(request, f"{file.name}: {file.reason}")
        return await self.give(request, file)

    def refusal(self, request: web.Request, text: str) -> NotFoundError:
        """Note that a file is not given, and return what says so."""
        self._asks(request)
        self._trace(request, "http.refused", text, ok=False)
        return NotFoundError(text)

    async def give(self, request: web.Request, file: ServedFile, *, boots: bool = True) -> web.StreamResponse:
        """Serve a file that was found: all of it, a range, or only its head. `boots`: it is what a machine boots."""
        self._asks(request)
        part = select(request.method, request.headers, file.sha256, file.size_bytes)
        headers = _headers(file, part)
        if request.method == "HEAD" or not part.length:
            return _NoBody(part, status=part.status, headers=headers)
        if part.status == 200 and part.length >= LONG_BYTES:
            self._trace(request, "http.start", f"{file.name}: {part.length} bytes")
        with self._is_sent(address_of(request)) if boots else nullcontext():
            return await self._in_turn(request, file, part, headers)

    @contextmanager
    def _is_sent(self, address: str) -> Iterator[None]:
        self.sent_to[address] += 1
        try:
            yield
        finally:
            self.sent_to[address] -= 1
            if not self.sent_to[address]:
                del self.sent_to[address]

    async def _in_turn(
        self, request: web.Request, file: ServedFile, part: Part, headers: dict[str, str]
    ) -> web.StreamResponse:
        if (turn := await self._turn(request, file.name, file.size_bytes)) is None:
            return _busy()
        with turn:
            return await self._send(request, file, part, _Body(part, self._crowd, status=part.status, headers=headers))

    async def give_along(self, request: web.Request, name: str, along: Coming) -> web.StreamResponse:
        """Serve a file while it arrives, within the bounds of all others; nobody gets all of one that is wrong."""
        self._asks(request)
        if (turn := await self._turn(request, name, along.size_bytes or math.inf)) is None:
            return _busy()
        response = web.StreamResponse(headers={"Content-Type": OCTETS})
        response.content_length = along.size_bytes
        with turn:
            try:
                await response.prepare(request)
                if request.method != "HEAD":
                    await self._paced(response, along.chunks())
            except TimeoutError:
                return self._ended(request, response, "http.stalled", f"{name}: the client stopped reading, or nearly")
            except ConnectionError:
                return self._ended(request, response, "http.broken", f"{name}: the client closed the connection")
            except (ArtifactError, OSError) as error:
                return self._ended(request, response, "http.unreadable", f"{name}: {error}")
        return response

    async def _paced(self, response: web.StreamResponse, chunks: AsyncIterator[bytes]) -> None:
        pace = _Pace(self._bounds.patience)
        async for chunk in chunks:
            left = memoryview(chunk)
            while left:
                count = await self._sender.permit(min(STEP_BYTES, len(left)))
                await pace.send(response.write, left[:count])
                left = left[count:]

    async def _turn(self, request: web.Request, name: str, size_bytes: float) -> ExitStack | None:
        """Wait for a turn to send; None where there is none in time."""
        turns, address = self._images if size_bytes > BULK_BYTES else self._turns, address_of(request)
        try:
            async with asyncio.timeout(self._bounds.wait_s):
                return await turns.begin(address)
        except TimeoutError:
            of_its_own = turns.asking[address]
            text = f"{name}: too many transfers are under way, or wait; {of_its_own} others of this address"
            self._trace(request, "http.busy", text, ok=False)
            return None

    async def _send(self, request: web.Request, file: ServedFile, part: Part, body: _Body) -> web.StreamResponse:
        started = time.monotonic()
        try:
            source = await asyncio.get_running_loop().run_in_executor(None, _open, file)
        except OSError as error:
            self._trace(request, "http.unreadable", f"{file.name}: {error}", ok=False)
            return web.Response(status=500, text="cannot be read on the server\n")
        try:
            wanted = Range(part.offset, part.length, bulk=file.size_bytes > BULK_BYTES)
            await body.send(request, source, wanted, self._sender, self._bounds.patience)
        except TimeoutError:
            return self._ended(request, body, "http.stalled", f"{file.name}: the client stopped reading, or nearly")
        except ConnectionError:
            if not body.is_whole:  # one that has all of it may close before we have ended it
                return self._ended(request, body, "http.broken", f"{file.name}: the client closed the connection")
        except asyncio.CancelledError:
            if body.is_whole:
                self._sent(request, file, part, started)
            elif request.transport is None:  # the server noticed it first, and ends whoever answers
                self._trace(request, "http.broken", f"{file.name}: the client closed the connection", ok=False)
            raise
        except OSError as error:
            return self._ended(request, body, "http.unreadable", f"{file.name}: {error}")
        finally:
            source.close()
        self._sent(request, file, part, started)
        return body

    def _sent(self, request: web.Request, file: ServedFile, part: Part, started: float) -> None:
        some = "" if part.status == 200 else f" from byte {part.offset} of {file.size_bytes}"
        took = time.monotonic() - started
        self._trace(request, "http.sent", f"{file.name}: {part.length} bytes{some} in {took:.2f} s")

    def _ended(self, request: web.Request, body: web.StreamResponse, event: str, text: str) -> web.StreamResponse:
        """End the connection: its body was announced and cannot be sent."""
        self._trace(request, event, text, ok=False)
        if request.transport is not None:
            request.transport.abort()
        return body

    def _asks(self, request: web.Request) -> None:
        """Note which machine asks: firmware has given its address back by the time that it is told to have its file."""
        if (mac := self._whose(address_of(request))) is not None:
            request[_ASKS] = mac

    def _trace(self, request: web.Request, event: str, text: str, *, ok: bool = True) -> None:
        mac = request.get(_ASKS)
        log.info("%s client=%s mac=%s %s", event, request.remote or "", mac, text)
        self._observe(TraceLine(NOW, Channel.HTTP, event, text, mac=mac, ok=ok))


def _headers(file: ServedFile, part: Part) -> dict[str, str]:
    headers = {"ETag": f'"{file.sha256}"', "Accept-Ranges": "bytes"}
    if part.status == 206:
        headers["Content-Range"] = f"bytes {part.offset}-{part.offset + part.length - 1}/{file.size_bytes}"
    elif part.status == 416:
        headers["Content-Range"] = f"bytes */{file.size_bytes}"
    if part.status in (200, 206):
        suffix = file.name[file.name.rfind(".") :]
        headers["Content-Type"] = MEDIA_TYPES.get(suffix, OCTETS)
    return headers


def _open(file: ServedFile) -> BinaryIO:
    """Open a file of the store; refuse what is not the file on record."""
    descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size != file.size_bytes:
        os.close(descriptor)
        raise OSError(f"has {found.st_size} bytes, {file.size_bytes} are on record")
    return os.fdopen(descriptor, "rb", buffering=0)


def _busy() -> web.Response:
    return web.Response(status=503, text="busy\n", headers={"Retry-After": "5"})


class _NoBody(web.StreamResponse):
    """A head that tells the length of a body that is not sent."""

    def __init__(self, part: Part, *, status: int, headers: dict[str, str]) -> None:
        super().__init__(status=status, headers=headers)
        if status != 304:
            self.content_length = part.length


class _Crowd:
    """How many clients are sent something through TLS now."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def step_bytes(self) -> int:
        """How much each is sent in its turn."""
        return min(STEP_BYTES, max(TLS_LEAST_BYTES, TLS_ALL_BYTES // max(1, self.count)))


class _Pace:
    """What a client takes of what the loop sends it. Waiting for our own limit or for content costs it nothing."""

    def __init__(self, patience: Patience) -> None:
        self._patience, self._sent_bytes, self._took_s = patience, 0, 0.0

    async def send(self, write: Callable[[Any], Awaitable[None]], piece: Any) -> None:
        """Write a piece; raise `TimeoutError` when the client takes too little."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(self._patience.stall_s):
            await write(piece)
            await asyncio.sleep(0)  # a client that takes everything at once would keep the loop from all others
        self._sent_bytes += len(piece)
        self._took_s += loop.time() - began
        if self._patience.is_over(self._sent_bytes, self._took_s):
            raise TimeoutError


class _Body(web.StreamResponse):
    """A head, then a part of a file by sendfile(2)."""

    def __init__(self, part: Part, crowd: _Crowd, *, status: int, headers: dict[str, str]) -> None:
        super().__init__(status=status, headers=headers)
        self.content_length = part.length
        self._part, self._crowd = part, crowd
        self._sending: Sending | None = None

    @property
    def is_whole(self) -> bool:
        """Say whether the kernel has all of it, without TLS."""
        return self._sending is not None and self._sending.is_whole

    async def send(
        self, request: web.Request, source: BinaryIO, wanted: Range, sender: Sender, patience: Patience
    ) -> None:
        """Send it; raise `TimeoutError` when the client takes too little."""
        writer: AbstractStreamWriter | None = await self.prepare(request)
        if writer is None or request.transport is None:
            raise ConnectionResetError("the client is gone")
        if request.secure:
            self._crowd.count += 1
            try:
                await self._encrypted(writer, source, sender, patience)
            finally:
                self._crowd.count -= 1
        else:
            await _flush(request.transport, writer, patience.stall_s)
            sock = request.transport.get_extra_info("socket")
            self._sending = sender.begin(sock.fileno(), source.fileno(), wanted, patience)
            await self._sending.over()
        await self.write_eof()

    async def _encrypted(
        self, writer: AbstractStreamWriter, source: BinaryIO, sender: Sender, patience: Patience
    ) -> None:
        """Send through TLS, which the loop's thread alone can do. asyncio's own way takes 16 KiB at a time."""
        loop = asyncio.get_running_loop()
        offset, end, pace = self._part.offset, self._part.offset + self._part.length, _Pace(patience)
        while offset < end:
            count = await sender.permit(min(self._crowd.step_bytes, end - offset))
            chunk: bytes | bytearray = _at_hand(source.fileno(), count, offset)
            if not chunk:
                chunk = await loop.run_in_executor(None, os.pread, source.fileno(), count, offset)
            if not chunk:
                raise OSError("the file was cut short while it was sent")
            await pace.send(writer.write, chunk)
            offset += len(chunk)


def _at_hand(descriptor: int, count: int, offset: int) -> bytes | bytearray:
    """Read what is in the page cache, without ever waiting for a disk; nothing where it is not, or cannot be known."""
    buffer = bytearray(count)
    try:
        got = os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)
    except OSError:  # EAGAIN: it would wait; EOPNOTSUPP: a file system that cannot say
        return b""
    return buffer[:got] if got < count else buffer


async def _flush(transport: asyncio.Transport, writer: AbstractStreamWriter, stall_s: float) -> None:
    """Wait until the head has left, since what the kernel sends next comes right behind it."""
    transport.set_write_buffer_limits(0)
    async with asyncio.timeout(stall_s):
        while transport.get_write_buffer_size():
            await writer.drain()
    transport.set_write_buffer_limits()
