"""One transfer's socket and the pump behind it (RFC 1350 section 4: a port of its own, connected to the client)."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import struct
from collections.abc import Callable
from itertools import chain

from provisioner.tftp.pump import Pump
from provisioner.tftp.transfer import Datagram, Outcome, Transfer

UDP_SEGMENT = 103  # linux/udp.h: the kernel cuts one buffer into datagrams of this size
MAX_SEGMENTS = 64  # linux/udp.h UDP_MAX_SEGMENTS; more since 6.9, but 64 is what every kernel takes
MAX_SEND = 65000  # below the 65507 octets that one UDP send takes
_NO_OFFLOAD = frozenset({errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT})


class Session:
    """Runs one `Transfer` on a connected socket. The kernel keeps other peers' datagrams away."""

    def __init__(
        self, sock: socket.socket, transfer: Transfer, *, pump: Pump, ended: Callable[[Session], None]
    ) -> None:
        self.transfer = transfer
        self._sock = sock
        self._pump = pump
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._unsent: list[list[Datagram]] = []
        self._offload = True
        self._one_at_a_time = transfer.agreed.windowsize == 1
        segment = transfer.agreed.blksize + 4
        self._offload_by = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", segment))]
        self._batch = min(MAX_SEGMENTS, MAX_SEND // segment)

    def start(self) -> None:
        """Send what there is and listen."""
        self._pump.add(self._sock.fileno(), self)
        self.answer()

    def stop(self, outcome: Outcome, reason: str) -> None:
        """End the transfer from our side."""
        self.transfer.stop(outcome, reason)
        self._unsent.clear()
        self.answer()

    def receive(self) -> None:
        """Read what came. At windowsize 1 one datagram is all there can be: a second read would be a wasted call."""
        transfer, now = self.transfer, self._loop.time()
        try:
            while True:
                transfer.receive_datagram(self._sock.recv(2048), now)
                if self._one_at_a_time or transfer.done:
                    break
        except BlockingIOError:
            pass
        except ConnectionRefusedError:
            transfer.peer_unreachable()
        except OSError:
            pass  # a route that went away, say: silence until the transfer's patience ends

    def answer(self) -> None:
        """Send what the transfer has, and keep its timer."""
        transfer = self.transfer
        if datagrams := transfer.datagrams_to_send():
            batch = self._batch
            self._unsent = [datagrams]  # what comes now takes the place of what the socket could not take
            if len(datagrams) > batch:
                self._unsent = [datagrams[at : at + batch] for at in range(0, len(datagrams), batch)]
            self._flush()
        due = transfer.get_timer()
        if due is None:
            self._close()
        elif due < self._due:
            self._arm(due)

    def _flush(self) -> None:
        """Send until the socket is full, then go on when it is not."""
        unsent = self._unsent
        try:
            while unsent:
                self._send(unsent[0])
                del unsent[0]
        except BlockingIOError:
            self._loop.add_writer(self._sock.fileno(), self._writable)
        except ConnectionRefusedError:
            self.transfer.peer_unreachable()
        except OSError:
            unsent.clear()  # no buffers, no route: lost, as any datagram may be

    def _writable(self) -> None:
        self._loop.remove_writer(self._sock.fileno())
        self._flush()
        if self.transfer.done:
            self._close()

    def _send(self, datagrams: list[Datagram]) -> None:
        """Send a batch in one call where the kernel can cut it, else one by one."""
        if len(datagrams) == 1:
            self._sock.sendmsg(datagrams[0])
            return
        if self._offload:
            try:
                self._sock.sendmsg(chain.from_iterable(datagrams), self._offload_by)
                return
            except OSError as error:
                if error.errno not in _NO_OFFLOAD:
                    raise
                self._offload = False
        while datagrams:
            self._sock.sendmsg(datagrams[0])
            del datagrams[0]

    def _arm(self, due: float) -> None:
        """Keep one timer. It is moved only to fire earlier; when it fires too early it is set again: so no datagram
        has to cancel a timer and make another."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._due = None, math.inf
        now = self._loop.time()
        due = self.transfer.get_timer()
        if due is not None and due > now:
            self._arm(due)
        else:
            self.transfer.handle_timer(now)
            self.answer()

    def _close(self) -> None:
        if self._sock.fileno() < 0:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._pump.remove(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._ended(self)
