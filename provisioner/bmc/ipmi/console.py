"""The IPMI driver's console: what the worker's serial line says, as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from provisioner.bmc.ipmi.messages import CloseConsole, Failed, Keys, Output, Reply, Request, Trouble
from provisioner.errors import BmcError, BmcProtocolError

OPEN_S = 15.0


class Stream(Protocol):
    """Replies to one request, as they come."""

    async def next(self) -> Reply: ...

    def put(self, reply: Reply) -> None: ...

    def close(self) -> None: ...


class Sender(Protocol):
    """The way to the worker for what is not answered."""

    def tell(self, request: Request) -> None: ...


class IpmiConsole:
    """An open console (`capabilities.ConsoleLine`)."""

    def __init__(self, id: int, stream: Stream, link: Sender, failure: Callable[[Failed], BmcError]) -> None:
        self._id = id
        self._stream = stream
        self._link = link
        self._failure = failure

    async def output(self) -> AsyncIterator[bytes]:
        """Yield what the machine prints; end when we close it, raise when it is lost."""
        while True:
            match await self._stream.next():
                case Output(data=data):
                    yield data
                case Failed(trouble=Trouble.CLOSED, said="closed"):
                    return
                case Failed() as failed:
                    raise self._failure(failed)
                case reply:
                    raise BmcProtocolError(f"the IPMI worker said {type(reply).__name__} on a console")

    async def type(self, keys: bytes) -> None:
        """Type keys into the machine."""
        self._link.tell(Keys(self._id, keys))

    async def send_break(self) -> None:
        """Send a serial break (Linux: SysRq)."""
        self._link.tell(Keys(self._id, brk=True))

    async def close(self) -> None:
        """End the console."""
        self._link.tell(CloseConsole(self._id))
        self._stream.put(Failed(self._id, Trouble.CLOSED, "closed"))  # wakes the reader
        self._stream.close()
