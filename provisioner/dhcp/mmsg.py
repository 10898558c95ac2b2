"""Many datagrams in one system call: recvmmsg(2) and sendmmsg(2), which the standard library does not have.

A rack that powers on sends hundreds of packets at once. One call for all of them halves what the kernel costs us.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Sequence

COUNT = 128
"""Datagrams in one call: enough to group their leases, few enough (3 ms of work) to let others run."""
SIZE = 2048
"""Longest datagram: nothing longer comes through an Ethernet of usual size."""
NAME = 16
"""Length of a sockaddr_in."""
CONTROL = 64
META = NAME + CONTROL
"""What stands beside a datagram: where from, and the control message."""
_CONTROL_HEADER = 16
"""Bytes before the data of a control message (64 bits)."""
PKTINFO = slice(NAME + _CONTROL_HEADER, NAME + _CONTROL_HEADER + 12)
"""The in_pktinfo in what stands beside a datagram (ip(7), IP_PKTINFO)."""
_SEEN = PKTINFO.stop


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("head", _Msghdr), ("length", ctypes.c_uint32))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class _Table:
    """Message headers over fixed memory, one slot a datagram."""

    def __init__(self, control: int) -> None:
        self.data = (ctypes.c_char * (COUNT * SIZE))()
        self.meta = (ctypes.c_char * (COUNT * META))()
        self.iovecs = (_Iovec * COUNT)()
        self.heads = (_Mmsghdr * COUNT)()
        for slot in range(COUNT):
            self.iovecs[slot] = _Iovec(ctypes.addressof(self.data) + slot * SIZE, SIZE)
            head = self.heads[slot].head
            head.name, head.name_length = ctypes.addressof(self.meta) + slot * META, NAME
            head.iov, head.iov_count = ctypes.addressof(self.iovecs) + slot * ctypes.sizeof(_Iovec), 1
            if control:
                head.control, head.control_length = ctypes.addressof(self.meta) + slot * META + NAME, control
        self.data_view, self.meta_view = memoryview(self.data).cast("B"), memoryview(self.meta).cast("B")
        self.heads_view = memoryview(self.heads).cast("B")
        self.fresh = bytes(self.heads_view)
        """The headers as they were before the kernel wrote into them."""


class Receiver:
    """Receives from one socket."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._table = _Table(CONTROL)
        self._address = ctypes.addressof(self._table.heads)
        self._lengths = memoryview(self._table.heads_view).cast("I")[_Mmsghdr.length.offset // 4 :: _HEAD // 4]
        self._flags = memoryview(self._table.heads_view).cast("I")[_Msghdr.flags.offset // 4 :: _HEAD // 4]

    def receive(self) -> list[tuple[bytes, bytes]]:
        """Give what has arrived, at most `COUNT`, each with what stands beside it (`META`). Raises `OSError`.

        A datagram that was longer than `SIZE` is left out.
        """
        table = self._table
        count = _libc.recvmmsg(self._descriptor, self._address, COUNT, socket.MSG_DONTWAIT, None)
        if count < 0:
            raise_unless_empty(ctypes.get_errno())
            return []
        data, meta, lengths, flags = table.data_view, table.meta_view, self._lengths, self._flags
        found = [
            (bytes(data[slot * SIZE : slot * SIZE + lengths[slot]]), bytes(meta[slot * META : slot * META + _SEEN]))
            for slot in range(count)
            if not flags[slot] & _TRUNCATED
        ]
        table.heads_view[: count * _HEAD] = table.fresh[: count * _HEAD]
        return found


class Sender:
    """Sends through one socket."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._table = _Table(0)
        self._lengths = memoryview(memoryview(self._table.iovecs).cast("B")).cast("Q")[1::2]

    def send(self, datagrams: Sequence[tuple[bytes, bytes]]) -> int:
        """Send each of at most `COUNT` (bytes, sockaddr_in); give how many the kernel did not take."""
        table, lengths = self._table, self._lengths
        for slot, (data, name) in enumerate(datagrams):
            table.data_view[slot * SIZE : slot * SIZE + len(data)] = data
            table.meta_view[slot * META : slot * META + NAME] = name
            lengths[slot] = len(data)
        at = lost = 0
        while at < len(datagrams):
            heads = ctypes.addressof(table.heads) + at * _HEAD
            sent = _libc.sendmmsg(self._descriptor, heads, len(datagrams) - at, socket.MSG_DONTWAIT)
            if sent <= 0:  # the first of them cannot be sent: go on behind it
                lost += 1
                sent = 1
            at += sent
        return lost


_HEAD = ctypes.sizeof(_Mmsghdr)
_TRUNCATED = int(socket.MSG_TRUNC)


def raise_unless_empty(number: int) -> None:
    """Nothing there, or an ICMP error about something sent earlier, is no failure; all else is raised."""
    if number not in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
        raise OSError(number, os.strerror(number))


def sockaddr(ip: int, port: int) -> bytes:
    """Write a sockaddr_in (ip(7))."""
    return socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + ip.to_bytes(4, "big") + bytes(8)
