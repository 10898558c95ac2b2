"""The TFTP server: one loop, one listening socket an address, one connected socket a transfer."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Awaitable, Sequence

from provisioner.boot.files import FileTable, Make, Refused, Render, normalise, printable
from provisioner.errors import ListenError, ProvisionerError, WireError
from provisioner.listening import hint_for, spelled
from provisioner.tftp.content import Contents, in_mode
from provisioner.tftp.options import negotiate
from provisioner.tftp.packet import ErrorCode, Request, decode
from provisioner.tftp.places import DEFAULT, Bounds, Job, Places
from provisioner.tftp.pump import Pump
from provisioner.tftp.session import Session
from provisioner.tftp.sockets import Address, Reply, SocketAddress, destination, listen
from provisioner.tftp.trace import Trace
from provisioner.tftp.transfer import Outcome, Transfer

log = logging.getLogger(__name__)

DRAINED = 64
"""Requests read from a listening socket before the loop looks at anything else."""
COMPLAIN_EVERY_S = 10.0


class TftpServer:
    """Serves `table` read-only on every one of `addresses`.

    `render` makes files for one client and is asked first.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        table: FileTable,
        trace: Trace,
        render: Render | None = None,
        bounds: Bounds = DEFAULT,
    ) -> None:
        self.addresses = tuple(addresses)
        """As configured; after `start` with the ports that were bound, where 0 was asked for."""
        self._table, self._render, self._trace = table, render, trace
        self.counts = trace.counts
        self._bounds = bounds
        self._listeners: list[socket.socket] = []
        self._contents = Contents()
        self._pump: Pump | None = None
        self._places = Places(bounds)
        self._complained_at: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind every address or none; raise `ListenError`."""
        try:
            for address in self.addresses:
                self._listeners.append(listen(address))
        except OSError as error:
            await self.stop()
            raise _refused(address, error) from error
        self.addresses = tuple(sock.getsockname()[:2] for sock in self._listeners)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._places.limit = min(self._bounds.transfers, soft // 2)
        loop, self._pump = asyncio.get_running_loop(), Pump()
        for sock in self._listeners:
            loop.add_reader(sock.fileno(), self._readable, sock)

    def listen(self, address: Address) -> None:
        """Serve on one address more while the server runs; raise `ListenError`."""
        try:
            sock = listen(address)
        except OSError as error:
            raise _refused(address, error) from error
        self._listeners.append(sock)
        self.addresses = (*self.addresses, sock.getsockname()[:2])
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable, sock)

    async def stop(self) -> None:
        """Close the ports; tell the clients of transfers under way."""
        loop = asyncio.get_running_loop()
        for sock in self._listeners:
            loop.remove_reader(sock.fileno())
            sock.close()
        self._listeners.clear()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in self._places.all():
            if job.session is not None:
                job.session.stop(Outcome.STOPPED, "the server stops")
        if self._pump is not None:
            self._pump.close()
            self._pump = None
        self._trace.stop()
        self._contents.clear()

    @property
    def transfers(self) -> int:
        """How many are under way."""
        return len(self._places)

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(DRAINED):
            try:
                data, ancillary, flags, peer = sock.recvmsg(2048, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # an ICMP error of an earlier answer
                self._complain("tftp.socket", f"receive: {error}")
                return
            try:
                self._received(sock, data, ancillary, flags, peer)
            except OSError as error:
                self._complain("tftp.socket", f"from {peer[0]}: {error}")

    def _received(
        self, sock: socket.socket, data: bytes, ancillary: list[tuple[int, int, bytes]], flags: int, peer: SocketAddress
    ) -> None:
        reply = Reply(sock, peer, destination(ancillary))
        if flags & socket.MSG_TRUNC:
            return self._complain("tftp.malformed", f"from {peer[0]}: a request of more than 2048 octets")
        try:
            packet = decode(data)
        except WireError as error:
            return self._complain("tftp.malformed", f"from {peer[0]}: {error}")
        if not isinstance(packet, Request):
            return self._complain("tftp.stray", f"from {peer[0]}: {type(packet).__name__} outside of a transfer")
        client = self._trace.client(reply.host)
        if packet.write:
            self._trace.add(client, "tftp.refused", f"{printable(packet.name)}: nothing can be written here", ok=False)
            return reply.error(ErrorCode.ACCESS_VIOLATION, "read only")
        return self._requested(Job(packet, data, reply, client))

    def _requested(self, job: Job) -> None:
        """Find what is asked for and make room for it."""
        making, served = self._made(job), self._table.find(job.request.name)
        if making is None and isinstance(served, Refused):
            return self._refuse(job, served)
        if self._places.repeats(job):
            return None  # the client's impatience: its transfer is there, and its timer answers
        if not self._places.take(job):
            return self._complain("tftp.busy", f"{job.reply.host} waits: {len(self._places)} transfers are under way")
        if making is not None:
            task = asyncio.get_running_loop().create_task(self._make(job, making()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return None
        assert not isinstance(served, Refused)
        return self._contents.get(served, job.request.mode, lambda content: self._opened(job, served.name, content))

    def _made(self, job: Job) -> Make | None:
        """Say how the file is made for this client, where it is one of those."""
        key = normalise(job.request.name)
        if self._render is None or isinstance(key, Refused):
            return None
        return self._render(key, job.reply.host)

    async def _make(self, job: Job, content: Awaitable[bytes]) -> None:
        try:
            made = await content
        except ProvisionerError as error:
            self._places.free(job)
            self._refuse(job, Refused(printable(job.request.name), str(error)))
        except Exception:
            self._places.free(job)
            log.exception("tftp.fault client=%s %s", job.reply.host, printable(job.request.name))
        else:
            self._opened(job, printable(job.request.name), in_mode(job.request.mode, memoryview(made)))

    def _refuse(self, job: Job, refused: Refused) -> None:
        self.counts["refused"] += 1
        self._trace.add(job.client, "tftp.refused", f"{refused.name}: {refused.reason}", ok=False)
        job.reply.error(ErrorCode.NOT_FOUND, "nothing is served under this name")

    def _opened(self, job: Job, name: str, content: memoryview | OSError) -> None:
        if not self._listeners or not self._places.holds(job):
            return None  # stopped, or the client began anew meanwhile
        if isinstance(content, OSError):
            self._places.free(job)
            self._trace.add(job.client, "tftp.unreadable", f"{name}: {content}", ok=False)
            return job.reply.error(ErrorCode.UNDEFINED, "cannot be read on the server")
        try:
            self._begin(job, name, content)
        except OSError as error:
            self._places.free(job)
            self._complain("tftp.socket", f"for {job.reply.host}: {error}")
        return None

    def _begin(self, job: Job, name: str, content: memoryview) -> None:
        reply = job.reply
        agreed = negotiate(job.request, len(content), self._bounds.granted, ip_header=reply.ip_header)
        sock = reply.connected_socket()
        job.began = asyncio.get_running_loop().time()
        transfer = Transfer(content, agreed, job.began)
        assert self._pump is not None
        job.session = Session(
            sock, transfer, pump=self._pump, ended=lambda session: self._ended(job, name, session.transfer)
        )
        about = f"{name}: {len(content)} bytes, blksize {agreed.blksize}, windowsize {agreed.windowsize}"
        self._trace.add(job.client, "tftp.start", about)
        job.session.start()

    def _ended(self, job: Job, name: str, transfer: Transfer) -> None:
        self._places.free(job)
        outcome = transfer.outcome or Outcome.STOPPED
        self.counts[outcome] += 1
        seconds = asyncio.get_running_loop().time() - job.began
        if outcome in (Outcome.COMPLETE, Outcome.UNCONFIRMED):
            again = f", {transfer.retransmitted_blocks} blocks sent again" if transfer.retransmitted_blocks else ""
            self._trace.done(job.client, name, f"{transfer.size_bytes} bytes in {seconds:.2f} s{again}")
        elif outcome is Outcome.ABORTED:
            said = f", it said: {transfer.message}" if transfer.message else ""
            self._trace.add(
                job.client, "tftp.aborted", f"{name}: the client ended it at byte {transfer.acked_bytes}{said}"
            )
        else:
            text = f"{name}: {outcome} at byte {transfer.acked_bytes} of {transfer.size_bytes}, after {seconds:.0f} s"
            self._trace.add(job.client, "tftp.failed", text, ok=False)

    def _complain(self, event: str, text: str) -> None:
        """Count what a stranger did, and log it at most every COMPLAIN_EVERY_S for each kind."""
        kind = event.removeprefix("tftp.")
        self.counts[kind] += 1
        now = asyncio.get_running_loop().time()
        if now - self._complained_at.get(event, -COMPLAIN_EVERY_S) >= COMPLAIN_EVERY_S:
            self._complained_at[event] = now
            log.warning("%s count=%d %s", event, self.counts[kind], text)


def _refused(address: Address, error: OSError) -> ListenError:
    host, port = address
    hint = hint_for(error, "UDP", host, port)
    return ListenError(f"TFTP: cannot bind UDP {spelled(host, port)}: {error.strerror or error}", hint=hint)
